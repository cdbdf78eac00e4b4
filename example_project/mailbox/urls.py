"""The URL of the mailbox. It is mounted only in DEBUG."""

from mailbox.views import inbox

from django.urls import path

urlpatterns = [path("", inbox)]
