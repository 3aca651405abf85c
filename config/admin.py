"""The Django admin's own words, and its door: the site's sign-in, which counts failed tries."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.site_header = "Lectern"
admin.site.site_title = "Lectern"
admin.site.index_title = "Administration"
admin.site.empty_value_display = "-"
