"""The contenders: name -> module and class."""

CONTENDERS = {
    "limit": "limit:Limit",
    "limit-stateless": "limit:Stateless",
    "floor": "limit:Floor",
    "kit": "kit:Kit",
    "kit-stateless": "kit:Stateless",
    "ninja-jwt": "ninja_jwt:NinjaJWT",
    "ninja-jwt-stateless": "ninja_jwt:Stateless",
    "simplejwt": "simplejwt:SimpleJWT",
    "simplejwt-stateless": "simplejwt:Stateless",
    "allauth-jwt": "allauth:JWT",
    "allauth-jwt-stateful": "allauth:Stateful",
    "allauth-session": "allauth:SessionToken",
    "dj-rest-auth": "dj_rest_auth:DjRestAuth",
    "knox": "knox:Knox",
    "fastapi-users": "fastapi_users:JWT",
    "fastapi-users-database": "fastapi_users:Database",
}
