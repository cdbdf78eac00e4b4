"""The admin of the users."""

from django.contrib import admin

from accounts.models import User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    """List users, and change whether they are active or have permissions."""

    list_display = ("email", "is_active", "is_staff", "last_login", "date_joined")
    fields = ("email", "is_active", "is_staff", "is_superuser", "last_login", "date_joined")
    readonly_fields = ("last_login", "date_joined")
    search_fields = ("email",)
