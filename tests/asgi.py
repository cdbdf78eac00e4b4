"""The ASGI application that uvicorn serves in the tests."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()
