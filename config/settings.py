"""Every setting of Lectern, read from the environment. `./run` needs none of them."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url

from config import logs, mail

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def env_bool(name: str, default: bool = False) -> bool:
    value = env(name).lower()
    return default if not value else value in {"1", "true", "yes", "on"}


def env_int(name: str, default: int) -> int:
    try:
        return int(env(name) or default)
    except ValueError:
        raise SystemExit(f"{name} must be a whole number, not {env(name)!r}.") from None


def env_list(name: str) -> list[str]:
    return [part.strip() for part in env(name).split(",") if part.strip()]


def env_addresses(name: str) -> dict[str, str]:
    """`eu=https://eu.example.net, us=https://us.example.net` as a dict, without slashes at the ends."""
    pairs = [part.partition("=") for part in env_list(name)]
    found = {region.strip().lower(): address.strip().rstrip("/") for region, _, address in pairs}
    if not all(region and address.startswith(("https://", "http://")) for region, address in found.items()):
        raise SystemExit(f"{name} must be region=https://..., region=https://..., not {env(name)!r}.")
    return found


# --- where state lies ------------------------------------------------------------------------------------------------

DATA_DIR = Path(env("LECTERN_DATA", str(BASE_DIR / "var"))).resolve()
RECORDINGS_DIR = DATA_DIR / "recordings"
STREAMS_DIR = DATA_DIR / "streams"  # packets for live streams, read at once and thrown away
LIVE_DIR = DATA_DIR / "live"  # what viewers get
DATA_DIR.mkdir(parents=True, exist_ok=True)


def kept_secret(folder: Path) -> str:
    """A secret for installations that set none: made once, kept beside the data, readable by its owner alone."""
    path = folder / "secret_key"
    if not path.exists():
        # Written whole before it gets its name: nobody finds half of it, neither now nor after a full disk.
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".secret_key") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(file.name, path)
    return path.read_text().strip()


SECRET_KEY = env("SECRET_KEY") or kept_secret(DATA_DIR)
DEBUG = env_bool("DEBUG")
HTTPS = env_bool("HTTPS")
LECTERN_DEMO = env_bool("LECTERN_DEMO") if env("LECTERN_DEMO") else None  # None: config.demo decides
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
# What links in mails begin with. The supervisor sets it to what it prints; behind a proxy it is the proxy's address.
SITE_URL = env("SITE_URL", f"{'https' if HTTPS else 'http'}://{ALLOWED_HOSTS[0]}").rstrip("/")

# --- the application -------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "django_htmx",
    "accounts",
    "classroom",
    "meetings",
    "recordings",
    "config",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.metrics.count_denials",
    "config.outages.Outages",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.time_zone.TimeZoneMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- database, cache, broker -----------------------------------------------------------------------------------------

DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        env("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'lectern.sqlite3'}",
        conn_max_age=0,  # a page has a thread of its own, which would leave its connection behind
        conn_health_checks=True,  # the sockets' threads keep theirs (meetings.database): one that broke is replaced
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: two writers wait for each other (up to `timeout`) where a deferred one would fail at once.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env("REDIS_URL") or "redis://127.0.0.1:6379/0"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # The layer waits 5 s for a message at a time: redis-py's own limit of 5 s would cut that short.
            "hosts": [{"address": REDIS_URL, "socket_timeout": 15}],
            "capacity": 2000,
            "expiry": 30,
            "group_expiry": 300,  # hubs renew every 2 s: a process that was killed is written to no longer than this
        },
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE: dict[str, Any] = {}  # each app adds its sweepers in its tasks.py (on_after_finalize)

# --- people ----------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/courses/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.forms.SignupForm"
ACCOUNT_FORMS = {
    "login": "accounts.sign_in.LoginForm",
    "signup": "accounts.sign_in.SignupForm",
    "reset_password": "accounts.sign_in.ResetPasswordForm",
    "reset_password_from_key": "accounts.sign_in.ResetPasswordKeyForm",
    "change_password": "accounts.sign_in.ChangePasswordForm",
    "add_email": "accounts.sign_in.AddEmailForm",
    "reauthenticate": "accounts.sign_in.ReauthenticateForm",
}
ACCOUNT_EMAIL_VERIFICATION = env("ACCOUNT_EMAIL_VERIFICATION", "none")
# A school stands behind one address, and its classes sign in and sign up within a minute. An account's own limit (the
# last one) is what slows down guessing.
ACCOUNT_RATE_LIMITS = {"login": "600/m/ip", "signup": "200/m/ip", "login_failed": "100/m/ip,5/300s/key"}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": [
        "config.parsers.DepthLimitedJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    # Without the browsable pages, whose forms offer every account of the site to whoever may open them.
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lectern",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    # Of this site's own files: another host's script would run with the sign-in of who reads the page.
    "SWAGGER_UI_DIST": "/static/vendor/swagger-ui",
    "SWAGGER_UI_FAVICON_HREF": "/static/img/lectern.svg",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "ALGORITHM": "HS256",
    "CHECK_REVOKE_TOKEN": True,  # a new password ends the sign-ins made with the old one
    "TOKEN_OBTAIN_SERIALIZER": "accounts.api.SignInSerializer",
}

# --- the media workers -----------------------------------------------------------------------------------------------

SFU_CONTROL_SECRET = env("SFU_CONTROL_SECRET") or secrets.token_urlsafe(16)
SFU_LISTEN_IP = env("SFU_LISTEN_IP", "0.0.0.0")  # noqa: S104  media come from anywhere
SFU_ANNOUNCED_IPS = env_list("SFU_ANNOUNCED_IPS")
SFU_PORT = env_int("SFU_PORT", 40000)
SFU_ROOM_PEERS = env_int("SFU_ROOM_PEERS", 500)  # of one room that a worker takes; more go to further workers
SFU_REGION = env("SFU_REGION", "local")
TURN_URLS = env_list("TURN_URLS")
TURN_SECRET = env("TURN_SECRET")

# --- what is remembered of connections -------------------------------------------------------------------------------

ANALYTICS_RETENTION_DAYS = env_int("ANALYTICS_RETENTION_DAYS", 90)  # after them it is told of nobody any more

# --- recordings ------------------------------------------------------------------------------------------------------

RECORDING_RETENTION_DAYS = env_int("RECORDING_RETENTION_DAYS", 30)
STREAM_TO_PRIVATE = env_bool("STREAM_TO_PRIVATE")  # may a stream be pushed to an RTMP server of this network?
S3_BUCKET = env("S3_BUCKET")
S3_OPTIONS = {
    "endpoint_url": env("S3_ENDPOINT_URL") or None,
    "bucket_name": S3_BUCKET,
    "access_key": env("S3_ACCESS_KEY_ID") or None,
    "secret_key": env("S3_SECRET_ACCESS_KEY") or None,
    "region_name": env("S3_REGION") or None,
    "querystring_expire": 300,  # seconds: a signed link is for the click that asked for it
    "signature_version": "s3v4",
    "addressing_style": "path",
    "default_acl": None,
    "max_memory_size": 16 * 1024 * 1024,  # bytes: what is read back to be verified goes to disk above this
    "file_overwrite": True,  # keys are deterministic, so that an upload can be repeated
}

# recordings/playback/cdn.py tells what they mean
CDN_BASE_URLS = env_addresses("CDN_BASE_URLS")
CDN_SECRET = env("CDN_SECRET")
CDN_REGION_HEADER = env("CDN_REGION_HEADER")
if CDN_BASE_URLS and not CDN_SECRET:
    raise SystemExit("CDN_BASE_URLS needs CDN_SECRET, by which the networks check their links.")

STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "media"}},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
    "recordings": (
        {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": S3_OPTIONS}
        if S3_BUCKET
        else {
            "BACKEND": "recordings.storage.WholeFiles",
            "OPTIONS": {"location": DATA_DIR / "storage", "allow_overwrite": True},
        }
    ),
}

# --- pages -----------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

try:
    globals().update(mail.settings_of(env("EMAIL_URL")))
except ValueError as error:
    raise SystemExit(f"EMAIL_URL cannot be used: {error}.") from None
LOGGING = logs.dict_config(env("LOG_FORMAT", "console"))
