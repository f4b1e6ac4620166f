"""A desk: which pipelines it shows, where they lie, and how people come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from flowguard.errors import InputError
from flowguard.settings import settings
from flowguard.spec import load_pipeline
from flowguard.stages.workspace import store_in
from flowguard.store import Role, Store

Mode = Literal["open", "password", "proxy"]
MODES: tuple[Mode, ...] = get_args(Mode)

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""What browsers on this machine call it. A page elsewhere whose name was made to mean this machine says another."""


@dataclass(frozen=True)
class Desk:
    """What `create_app` serves; `pipelines` maps names to pipeline files, `root` is their project folder.

    `mode` is how people come in: `open`, as the user that the desk runs as; `password`, as a user of the store; or
    `proxy`, as whom `header` names in requests from the addresses `proxies`. One whom the store does not know has
    `proxy_role` then, and is refused where that is None. `hosts` are the names by which browsers may call the desk;
    `https` says that they reach it by https only.
    """

    pipelines: Mapping[str, Path]
    root: Path
    runs: Path
    mode: Mode = "open"
    hosts: tuple[str, ...] = LOOPBACK
    https: bool = False
    proxies: tuple[str, ...] = ()
    header: str = "X-Forwarded-User"
    proxy_role: Role | None = None

    @property
    def store(self) -> Store:
        """What all pipelines of this desk remember, and its users."""
        return store_in(self.runs, project=self.root)

    @property
    def mark(self) -> str:
        """Tells its cookies from those of another desk on this machine: browsers do not keep ports apart."""
        return sha256(str(self.runs.absolute()).encode()).hexdigest()[:8]


def find(files: Sequence[Path], folder: Path) -> tuple[dict[str, Path], Path, Path]:
    """The pipelines of `files`, or all in `folder`/pipelines, by name; with their project and runs folder.

    Of all in the folder, those that cannot be read are left out as long as one can. Where the
    settings name one store for all, pipelines may write to several folders. Raises `InputError` where there is none,
    where two have one name, and where they do not share a store.
    """
    wanted = list(files) or sorted((folder / "pipelines").glob("*.yaml"))
    if not wanted:
        raise InputError(
            f"There is no pipeline to review: {folder / 'pipelines'} holds no *.yaml. Name pipeline files, run this in "
            "the project folder, or draft one with `flowguard init DATA.parquet --out pipelines/my.yaml`."
        )
    loaded, troubles = [], []
    for file in wanted:
        try:
            loaded.append(load_pipeline(file))
        except InputError as error:
            if files:
                raise
            troubles.append(str(error))
    if not loaded:
        raise InputError("No pipeline file can be read:\n" + "\n".join(troubles))
    found: dict[str, Path] = {}
    for pipeline in loaded:
        if found.setdefault(pipeline.name, pipeline.path) != pipeline.path:
            raise InputError(
                f"{found[pipeline.name]} and {pipeline.path} both have the name {pipeline.name!r}: rename one, or "
                "review one at a time."
            )
    runs = {pipeline.root / pipeline.output.folder for pipeline in loaded}
    stores = {settings(pipeline.root).store for pipeline in loaded}
    if len(runs) > 1 and (None in stores or len(stores) > 1):
        raise InputError(
            f"The pipelines {', '.join(found)} write to several folders ({', '.join(sorted(map(str, runs)))}), each "
            "with a store of its own. Review those of one folder at a time, or set FLOWGUARD_STORE to one for all."
        )
    return found, loaded[0].root, loaded[0].root / loaded[0].output.folder
