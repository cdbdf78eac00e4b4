"""The public names, and the import of the package before anything is configured."""

import subprocess
import sys

import ninja_auth_kit


def run(code: str) -> str:
    """Run code in a new interpreter without Django's settings."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def test_the_public_names_are_these_and_no_others() -> None:
    names = ["AuthKitError", "JWTAuth", "__version__", "add_error_handlers", "audit_event", "install"]
    names += ["services", "signals"]
    assert ninja_auth_kit.__all__ == names
    assert dir(ninja_auth_kit) == sorted(ninja_auth_kit.__all__)
    for name in ninja_auth_kit.__all__:
        assert getattr(ninja_auth_kit, name) is not None


def test_the_package_imports_before_settings_exist_and_pulls_in_nothing() -> None:
    code = "import ninja_auth_kit, sys; print(ninja_auth_kit.__version__, 'django' in sys.modules)"

    assert run(code) == f"{ninja_auth_kit.__version__} False\n"


def test_the_type_of_the_settings_can_be_imported_in_a_settings_file() -> None:
    assert run("from ninja_auth_kit.conf import AuthKitSettings; print('ok')") == "ok\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert "has no attribute 'nonsense'" in run("import ninja_auth_kit; ninja_auth_kit.nonsense")
