"""`portico render`: the configuration in another system's words."""

from __future__ import annotations

import gc
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portico.cli.configured import load, named_file
from portico.cli.console import count, err, fail, say
from portico.cli.options import ConfigOption, FileArgument

if TYPE_CHECKING:
    from portico.render import Rendering


class Target(StrEnum):
    """The system to render for."""

    ENVOY = "envoy"
    GATEWAY_API = "gateway-api"
    HAPROXY = "haproxy"
    KONG = "kong"
    NGINX = "nginx"


def render(
    context: typer.Context,
    target: Annotated[Target, typer.Argument(help="The system to render for.")],
    file: FileArgument = None,
    config: ConfigOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files, in place of stdout.")
    ] = None,
    lua: Annotated[
        bool, typer.Option("--lua", help="For nginx with libnginx-mod-http-lua: tokens, API keys, limits of consumers.")
    ] = False,
    lossy: Annotated[bool, typer.Option("--lossy", help="End with 0 although something could not be said.")] = False,
) -> None:
    """Print the same routes as a configuration of another system; exit code 1 if it cannot say all of them.

    What it cannot say is listed on stderr, with file and line; behind that stands what it does otherwise in any case.
    """
    from portico.render import NAMES, TARGETS, render_nginx

    gc.disable()  # thousands of routes are made, of which none is garbage: looking for some takes as long again
    loaded, _ = load(named_file(context, file, config))
    if lua and target is not Target.NGINX:
        raise typer.BadParameter("only nginx has Lua", param_hint="--lua")
    if lua and output is None:
        raise typer.BadParameter("this writes several files: say by --output DIR where", param_hint="--lua")
    rendering = render_nginx(loaded, lua=True) if lua else TARGETS[target.value](loaded)
    if output is None:
        typer.echo("\n".join(_named(rendering.files)), nl=False)
    else:
        _write(output, rendering)
    for loss in rendering.losses:
        say(err, str(loss))
    if rendering.otherwise:
        say(err, f"portico: what {NAMES[target.value]} does otherwise, whatever is written:")
    for sentence in rendering.otherwise:
        say(err, f"- {sentence}")
    if rendering.losses and not lossy:
        fail(f"portico: {count(rendering.losses, 'thing')} could not be said; --lossy ends with 0 all the same")


def _named(files: dict[str, str]) -> list[str]:
    """The texts of files; of several, each begins with its name."""
    if len(files) == 1:
        return [*files.values()]
    return [f"# ---- {name}\n{text}" for name, text in files.items()]


def _write(directory: Path, rendering: Rendering) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in rendering.files.items():
            path = directory / name
            if name in rendering.private:
                path.touch(0o600)
                path.chmod(0o600)
            path.write_text(text)
    except OSError as error:
        fail(f"portico: {directory}: {error.strerror}")
