"""Settings: each has bounds and a help text; arguments beat the environment; a bad value is named."""

from typing import Any, Literal, Union, get_origin

import msgspec
import pytest

from penstock.errors import ConfigError
from penstock.settings import SETTINGS, Setting, Settings, environment, load

BY_NAME = {setting.name: setting for setting in SETTINGS}
NUMBERS = [setting for setting in SETTINGS if setting.type in (int, float)]


def metadata(setting: Setting) -> msgspec.Meta:
    field = next(f for f in msgspec.structs.fields(Settings) if f.name == setting.name)
    meta: msgspec.Meta = field.type.__metadata__[0]
    return meta


def lowest(setting: Setting) -> Any:
    meta = metadata(setting)
    return meta.ge if meta.ge is not None else meta.gt


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_says_what_it_is(setting: Setting) -> None:
    assert setting.help.endswith(".")
    assert setting.type in (str, int, float) or get_origin(setting.type) in (Literal, Union)
    assert setting.variable == f"PENSTOCK_{setting.name.upper()}"
    assert setting.flag == f"--{setting.name.replace('_', '-')}"


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_every_number_has_a_bound_that_holds(setting: Setting) -> None:
    assert lowest(setting) is not None
    with pytest.raises(ConfigError, match=setting.name):
        load({setting.name: lowest(setting) - 1}, {})


def test_every_setting_is_listed() -> None:
    assert [setting.name for setting in SETTINGS] == list(Settings.__struct_fields__)


def test_the_defaults_pass_their_own_checks() -> None:
    defaults = {setting.name: setting.default for setting in SETTINGS}
    assert msgspec.structs.asdict(load(defaults, {})) == defaults
    assert msgspec.structs.asdict(load(None, {})) == defaults


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_environment_gives_every_setting_as_text(setting: Setting) -> None:
    settings = load({}, {setting.variable: str(setting.default)})
    assert getattr(settings, setting.name) == setting.default


def test_an_argument_beats_the_environment() -> None:
    environ = {"PENSTOCK_PORT": "9001", "PENSTOCK_RATE": "5"}
    settings = load({"port": 9002, "host": None}, environ)
    assert (settings.port, settings.rate, settings.host) == (9002, 5.0, "127.0.0.1")


def test_an_empty_argument_is_given_and_none_is_not() -> None:
    environ = {"PENSTOCK_TOKEN": "secret"}
    assert load({"token": ""}, environ).token == ""
    assert load({"token": None}, environ).token == "secret"


def test_other_programs_variables_are_left_alone() -> None:
    assert load({}, {"PORT": "1", "PENSTOCK_UNKNOWN": "1"}) == load({}, {})


def test_text_from_the_command_line_is_read_as_its_type() -> None:
    assert load({"port": "0", "grace_s": "1.5"}, {}).grace_s == 1.5


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "x"), ("port", 65536), ("rate", "nan"), ("rate", "inf"), ("heartbeat_s", 0), ("store", 3)],
)
def test_a_bad_argument_is_named_with_what_it_takes(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load({name: value}, {})
    assert f"setting {name!r}" in str(caught.value)
    assert "Expected" in str(caught.value)
    assert caught.value.field == name
    assert caught.value.hint == BY_NAME[name].help


def test_a_bad_variable_is_named_as_such() -> None:
    with pytest.raises(
        ConfigError, match=r"environment variable PENSTOCK_SYNCHRONOUS can't be used: .*'off'"
    ):
        load({"port": 1}, {"PENSTOCK_SYNCHRONOUS": "off"})


def test_a_setting_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="no setting 'prot'"):
        load({"prot": 80}, {})


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        load({}, {}).port = 1  # type: ignore[misc]


def test_the_real_environment_is_read_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PORT", "12345")
    monkeypatch.setenv("SOMETHING_ELSE", "yes")
    assert load().port == 12345
    assert environment("SOMETHING_ELSE") == "yes"
    monkeypatch.delenv("SOMETHING_ELSE")
    assert environment("SOMETHING_ELSE") == ""
