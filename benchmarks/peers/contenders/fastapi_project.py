"""The FastAPI application of fastapi-users, built as its documentation shows."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, IntegerIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users.db import SQLAlchemyBaseUserTable, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy.access_token import SQLAlchemyAccessTokenDatabase, SQLAlchemyBaseAccessTokenTable
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import ForeignKey, Integer, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from benchmarks.peers.contender import EMAIL, PASSWORD

SECRET = "of fastapi-users, 0123456789abcdefghijklmnopqrstuvwxyz"  # noqa: S105


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTable[int], Base):
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


class AccessToken(SQLAlchemyBaseAccessTokenTable[int], Base):
    @declared_attr
    def user_id(cls) -> Mapped[int]:  # noqa: N805  # a class method
        return mapped_column(Integer, ForeignKey("user.id", ondelete="cascade"), nullable=False)


class Manager(IntegerIDMixin, BaseUserManager[User, int]):
    reset_password_token_secret = verification_token_secret = SECRET


class UserCreate(schemas.BaseUserCreate):
    pass


def make(strategy: str, url: str, hasher: str, seen: Callable[..., None]) -> tuple[Any, Callable[[], Any]]:
    """Return the application and a coroutine function that creates its tables and its user."""
    engine = create_async_engine("postgresql+asyncpg://", connect_args=_address(url))
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *_: seen(statement=True))
    for what in ("begin", "commit", "rollback"):
        event.listen(engine.sync_engine, what, lambda *_: seen(statement=False))
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    helper = PasswordHelper(PasswordHash((cheap,))) if hasher == "cheap" else PasswordHelper()

    async def session() -> Any:
        async with sessions() as opened:
            yield opened

    async def users(opened: Any = Depends(session)) -> Any:
        yield Manager(SQLAlchemyUserDatabase(opened, User), helper)

    async def tokens(opened: Any = Depends(session)) -> Any:
        yield SQLAlchemyAccessTokenDatabase(opened, AccessToken)

    def by_database(stored: Any = Depends(tokens)) -> Any:
        return DatabaseStrategy(stored, lifetime_seconds=3600)

    chosen = by_database if strategy == "database" else lambda: JWTStrategy(SECRET, lifetime_seconds=3600)
    backend = AuthenticationBackend(name="x", transport=BearerTransport(tokenUrl="login"), get_strategy=chosen)
    kit = FastAPIUsers[User, int](users, [backend])
    application = FastAPI(docs_url=None, openapi_url=None)
    application.include_router(kit.get_auth_router(backend))

    @application.get("/who")
    async def who(user: Any = Depends(kit.current_user(active=True))) -> Any:
        return {"who": user.email}

    async def prepare() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with sessions() as opened:
            manager = Manager(SQLAlchemyUserDatabase(opened, User), helper)
            await manager.create(UserCreate(email=EMAIL, password=PASSWORD))

    return application, prepare


def _address(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "host": parse_qs(parts.query).get("host", [parts.hostname])[0],
        "port": parts.port or 5432,
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password or ""),
        "database": parts.path.lstrip("/"),
    }
