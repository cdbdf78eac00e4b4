"""The endpoints, one module for each feature. An endpoint parses the request, calls one service, and responds.

The docstring of an endpoint is its description in OpenAPI and in docs/features.
"""
