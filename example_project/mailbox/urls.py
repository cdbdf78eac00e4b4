"""The mailbox; mounted in DEBUG alone."""

from mailbox.views import inbox

from django.urls import path

urlpatterns = [path("", inbox)]
