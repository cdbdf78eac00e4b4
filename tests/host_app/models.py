"""User models: one with an email address only and a UUID as its key, and one with a unique username beside it."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    first_name = models.CharField(max_length=150, blank=True)
    last_name = models.CharField(max_length=150, blank=True)
    # Null, because many users have no nickname.
    nickname = models.CharField(max_length=30, unique=True, null=True, blank=True)
    about = models.JSONField(default=dict, blank=True)
    age = models.PositiveSmallIntegerField(null=True, blank=True)
    team = models.ForeignKey("auth.Group", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.CharField(max_length=30, default="of the staff", editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    objects = UserManager()

    class Meta:
        swappable = "AUTH_USER_MODEL"
        constraints = [models.CheckConstraint(condition=models.Q(age__gte=13), name="host_app_old_enough")]


class Member(AbstractUser):
    """Logs in with the email address. The inherited username is unique and required."""

    id = models.BigAutoField(primary_key=True)
    email = models.EmailField(unique=True)
    handle = models.CharField(max_length=30, null=True, blank=True)  # noqa: DJ001  # many users have none
    nickname = models.CharField(max_length=30, null=True, blank=True)  # noqa: DJ001
    nickname_key = models.GeneratedField(
        expression=Lower("nickname"), output_field=models.CharField(max_length=30), db_persist=True
    )
    rank = models.CharField(max_length=30, db_default="novice")
    badge = models.CharField(max_length=30, blank=True)
    club = models.CharField(max_length=30, blank=True)
    number = models.PositiveSmallIntegerField(null=True, blank=True)
    callsign = models.CharField(max_length=30, blank=True)
    is_on_air = models.BooleanField(default=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["username"]

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"
        unique_together = [("club", "number")]
        constraints = [
            models.UniqueConstraint(Lower("handle"), name="host_app_handle"),
            models.UniqueConstraint(fields=["nickname_key"], name="host_app_nickname"),
            models.UniqueConstraint(fields=["rank", "badge"], name="host_app_rank", condition=~models.Q(badge="")),
            models.UniqueConstraint(fields=["callsign"], condition=models.Q(is_on_air=True), name="host_app_on_air"),
        ]
