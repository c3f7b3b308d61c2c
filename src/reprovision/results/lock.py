"""dvc.lock: what each stage read and wrote when it last ran, by the MD5 of the contents."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from reprovision.core.files import digest_of
from reprovision.core.yaml_files import LenientSection, leaves, load_yaml, parse_section, parse_yaml

CODE = ("src/", "stages/")
"""Beginnings of the paths of code among the dependencies of a stage."""

TEST_STAGES = ("prepare", "train", "evaluate")
"""The stages that the test metrics come from."""


class Entry(LenientSection):
    """A dependency or an output: its path, and the MD5 of its content, `.dir` after a folder's."""

    path: str
    # other kinds of digest are not ours
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")] | None = None


class Stage(LenientSection):
    """What a stage read and wrote; params by file and dotted key."""

    cmd: str | list[str] = ""
    deps: tuple[Entry, ...] = ()
    outs: tuple[Entry, ...] = ()
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Lock(LenientSection):
    """The stages of a dvc.lock by name."""

    stages: dict[str, Stage]

    def outputs(self) -> dict[str, str]:
        """The MD5 of each output by its path; that of a folder ends in `.dir`."""
        outs = (out for stage in self.stages.values() for out in stage.outs)
        return {out.path: out.md5 for out in outs if out.md5}

    def inputs(self) -> dict[tuple[str, str], Any]:
        """What each stage read that no stage wrote, by stage and path; also command and params."""
        written = self.outputs()
        found: dict[tuple[str, str], Any] = {}
        for name, stage in self.stages.items():
            found[name, "the command"] = stage.cmd
            found[name, "params.yaml"] = stage.params
            found |= {(name, dep.path): dep.md5 for dep in stage.deps if dep.path not in written}
        return found

    def params(self) -> dict[str, Any]:
        """The params that the test metrics come from, by dotted key.

        Stages after these may have run earlier, with other params: they do not count.
        """
        stages = [self.stages[name] for name in TEST_STAGES if name in self.stages]
        trees = [tree for stage in stages for tree in stage.params.values()]
        return {key: value for tree in trees for key, value in leaves("", tree)}

    def is_complete(self) -> bool:
        """Whether the test metrics exist and each stage read what the one before it wrote."""
        if not self.stages.keys() >= set(TEST_STAGES):
            return False
        written = self.outputs()
        read = [dep for name in TEST_STAGES for dep in self.stages[name].deps]
        return all(written.get(dep.path, dep.md5) == dep.md5 for dep in read)

    def test_code(self) -> dict[str, str]:
        """The MD5 of the code that the test metrics come from, by path; folders end in `.dir`."""
        return {
            path: md5
            for (stage, path), md5 in self.inputs().items()
            if stage in TEST_STAGES and path.startswith(CODE)
        }

    def code(self) -> str:
        """Names the code of training: a digest of what its stage read that no stage wrote."""
        read = ((path, md5) for (stage, path), md5 in self.inputs().items() if stage == "train")
        code = sorted(f"{path} {md5}" for path, md5 in read if path.startswith(CODE))
        return digest_of(*(line.encode() for line in code))


def parse_lock(content: bytes, where: str) -> Lock:
    """Reads a dvc.lock.

    Raises:
        UserError: the content is no dvc.lock, e.g. because of a merge conflict.
    """
    return parse_section(Lock, parse_yaml(content, where), where)


def code_files(pipeline: Path, stage: str) -> list[Path]:
    """The Python files that a dvc.yaml lists as dependencies of a stage, in order."""
    deps = load_yaml(pipeline)["stages"][stage]["deps"]
    code = [Path(dep) for dep in deps if dep.startswith(CODE)]
    return sorted({f for path in code for f in ([path] if path.is_file() else path.rglob("*.py"))})
