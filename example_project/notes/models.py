"""Notes, each of one user."""

from django.conf import settings
from django.db import models


class Note(models.Model):
    """A line of text."""

    MAX_LENGTH = 500

    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notes")
    text = models.CharField(max_length=MAX_LENGTH)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.text
