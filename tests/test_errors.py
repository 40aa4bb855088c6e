"""The error tree: what its docstring draws is what there is."""

import inspect
import re
import traceback

import pytest

from penstock import errors
from penstock.errors import PenstockError, RunFailed

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, PenstockError)
}
LEAVES = [kind for kind in CLASSES.values() if not kind.__subclasses__()]
LINE = re.compile(
    r"(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)\b *(?P<status>\d{3})? *"
    r"(?P<code>[a-z]+(?:_[a-z_]+)?(?=$|:| \())?"
)


def drawn() -> list[re.Match[str]]:
    lines = (errors.__doc__ or "").splitlines()[2:]
    return [match for line in lines if (match := LINE.match(line))]


def make(kind: type[PenstockError]) -> PenstockError:
    return RunFailed("m", state="failed", error={}) if kind is RunFailed else kind("m")


def test_the_drawing_lists_every_class_once() -> None:
    assert sorted(line["name"] for line in drawn()) == sorted(CLASSES)


def test_all_of_them_are_public() -> None:
    assert sorted(errors.__all__) == sorted(CLASSES)


@pytest.mark.parametrize("line", drawn(), ids=lambda line: line["name"])
def test_the_drawing_is_right_about_status_and_code(line: re.Match[str]) -> None:
    kind = CLASSES[line["name"]]
    if line["status"]:
        assert int(line["status"]) == kind.status
    if line["code"]:
        assert line["code"] == kind.code
    if kind in LEAVES and issubclass(kind, errors.RequestError | errors.StoreError | errors.YieldError):
        assert line["status"], "callers are answered with it, so it belongs in the drawing"
        assert line["code"]


def test_a_traceback_ends_with_the_hint() -> None:
    told = traceback.format_exception(errors.ConfigError("It is wrong.", hint="Do it so."))
    assert told[-1] == "Do it so.\n"
    assert not hasattr(errors.ConfigError("It is wrong."), "__notes__")


def test_the_drawing_nests_as_the_classes_do() -> None:
    above: list[tuple[int, str]] = []
    for line in drawn():
        depth = len(line["indent"])
        above = [(d, name) for d, name in above if d < depth]
        expected = above[-1][1] if above else "Exception"
        assert CLASSES[line["name"]].__bases__[0].__name__ == expected
        above.append((depth, line["name"]))


@pytest.mark.parametrize("kind", CLASSES.values())
def test_every_error_has_a_code_a_status_and_a_reason(kind: type[PenstockError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert 400 <= kind.status < 600
    assert kind.__doc__


def test_no_two_leaves_share_a_code() -> None:
    codes = [kind.code for kind in LEAVES]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", CLASSES.values())
def test_the_wire_form(kind: type[PenstockError]) -> None:
    assert make(kind).as_dict() == {"code": kind.code, "message": "m", "hint": ""}
    assert str(make(kind)) == "m"


def test_the_wire_form_names_the_field_where_there_is_one() -> None:
    error = errors.InvalidInput("No such day.", hint="1 to 31", field="day")
    assert error.as_dict() == {
        "code": "invalid_input", "message": "No such day.", "hint": "1 to 31", "field": "day",
    }  # fmt: skip


def test_a_failed_run_carries_its_outcome() -> None:
    error = RunFailed("It failed.", state="failed", error={"code": "exception"}, hint="h")
    assert (error.state, error.error, error.hint) == ("failed", {"code": "exception"}, "h")
