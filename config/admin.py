"""The Django admin's own words."""

from django.contrib import admin

admin.site.site_header = "Lectern"
admin.site.site_title = "Lectern"
admin.site.index_title = "Administration"
admin.site.empty_value_display = "-"
