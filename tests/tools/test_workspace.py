"""The set-up says what is lacking, does only what is to be done, and survives interruptions."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_workspace_module():
    spec = importlib.util.spec_from_file_location("workspace", ROOT / "tools" / "workspace.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


workspace = load_workspace_module()


@pytest.fixture
def clone(tmp_path):
    """A clone with the tools and two packages, and nothing set up."""
    root = tmp_path / "clone"
    (root / "tools" / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "workspace.py", root / "tools")
    (root / "tools" / "requirements" / "lock.txt").write_text(
        "# pins\nnumpy==1.0\nros-rclpy==2.0\nrich==3.0 ; python_version < '3.11'\n"
    )
    for name in ("words", "engine"):
        (root / "src" / name).mkdir(parents=True)
        (root / "src" / name / "package.xml").write_text(f"<package>{name}</package>")
    (root / "src" / "engine" / "CMakeLists.txt").write_text("project(engine)\n")
    (root / "src" / "engine" / "engine.cpp").write_text("int main() {}\n")
    (root / "src" / "words" / "setup.py").write_text("# built by colcon\n")
    (root / "src" / "words" / "words").mkdir()
    (root / "src" / "words" / "words" / "__init__.py").write_text("")
    return workspace.Workspace(root)


def folder_with(tmp_path, **commands):
    """A folder for PATH that holds the given shell scripts and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in commands.items():
        script = folder / name
        script.write_text("#!/bin/sh\n" + body + "\n")
        script.chmod(0o755)
    return folder


def check(path, **extra_env):
    environ = {"PATH": str(path), "HOME": os.environ.get("HOME", "/"), **extra_env}
    # -S -E: the environment's own start-up hooks are not under test
    return subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "tools" / "workspace.py"), "check"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def fake_python(**changes):
    found = {
        "version": [3, 11],
        "full": "3.11.2",
        "implementation": "cpython",
        "venv": True,
        "headers": True,
        "gil": True,
        "executable": "/usr/bin/python3",
        **changes,
    }
    return f"cat <<'END'\n{json.dumps(found)}\nEND"


# ------------------------------------------------------------------------- what is lacking


def test_nothing_there_is_said_in_one_line_with_the_packages(tmp_path):
    done = check(folder_with(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "a supported Python (CPython 3.10 to 3.13)" in line
    assert "a C++17 compiler" in line
    assert line.endswith("sudo apt install python3 python3-venv python3-dev g++")


def test_missing_headers_and_venv_name_their_packages(tmp_path):
    (folder := tmp_path / "tools").mkdir()
    cat = shutil.which("cat")
    body = fake_python(venv=False, headers=False).replace("cat", cat, 1)
    path = folder_with(tmp_path, python3=body)
    (path / "cc").symlink_to(shutil.which("cc") or shutil.which("gcc"))
    (path / "c++").symlink_to(shutil.which("c++") or shutil.which("g++"))
    done = check(f"{path}:{folder}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "venv module" in line
    assert "Python.h" in line
    assert "sudo apt install python3-venv python3-dev" in line


def test_an_unsupported_python_is_named(tmp_path):
    cat = shutil.which("cat")
    body = fake_python(version=[3, 9], full="3.9.2").replace("cat", cat, 1)
    done = check(folder_with(tmp_path, python3=body))
    assert done.returncode == 2
    assert "python3 is 3.9.2" in done.stderr


def test_a_later_candidate_that_has_everything_is_chosen(tmp_path, monkeypatch):
    cat = shutil.which("cat")
    old = fake_python(version=[3, 8], full="3.8.1").replace("cat", cat, 1)
    bare = fake_python(headers=False).replace("cat", cat, 1)
    whole = fake_python(version=[3, 12], full="3.12.9").replace("cat", cat, 1)
    path = folder_with(tmp_path, **{"python3": old, "python3.11": bare, "python3.12": whole})
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("APIS_PYTHON", raising=False)
    found, lacks = workspace.choose_python(ros=None)
    assert found["full"] == "3.12.9"
    assert lacks == []


def test_a_compiler_without_cpp17_is_lacking(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(folder_with(tmp_path, **{"cc": "exit 0", "c++": "exit 1"})))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    (lack,) = workspace.lacking_compilers()
    assert lack.what == "a C++17 compiler"
    assert lack.debian_packages == ("g++",)


def test_a_foreign_platform_is_told_of_the_ros_way(monkeypatch):
    monkeypatch.setattr(workspace.platform, "machine", lambda: "aarch64")
    (lack,) = workspace.lacking_platform(ros=None)
    assert "aarch64" in lack.what
    assert workspace.lacking_platform(ros={"ROS_DISTRO": "kilted"}) == []


def test_nothing_is_installed_when_something_is_lacking(clone, monkeypatch, capsys):
    def lacking(*_):
        raise workspace.SetupError("This machine lacks luck")

    monkeypatch.setattr(workspace, "check_machine", lacking)
    monkeypatch.setattr(workspace, "run_logged", lambda *_, **__: pytest.fail("ran a command"))
    with pytest.raises(workspace.SetupError, match="luck"):
        workspace.setup(clone, environ={})
    assert not clone.venv.exists()
    assert "failed" in capsys.readouterr().out


# ------------------------------------------------------------------------ the wheels' CMake


def test_build_machine_folders_become_local_ones():
    text = (
        'set_target_properties(x PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "'
        "${_IMPORT_PREFIX}/include/std_msgs;/opt/python/cp311-cp311/include/python3.11;"
        '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include")\n'
    )
    new = workspace.rewrite_build_paths(text, "/usr/include/python3.11", r"/v\1/numpy/include")
    assert "/opt/python" not in new
    assert ";/usr/include/python3.11;" in new
    assert r';/v\1/numpy/include")' in new
    assert new == workspace.rewrite_build_paths(new, "/other", "/other")


@pytest.mark.parametrize("path", ["/opt/python/share", "/opt/ros/kilted/include", "/usr/include"])
def test_other_folders_stay(path):
    assert workspace.rewrite_build_paths(path, "/a", "/b") == path


# ------------------------------------------------------------------------------------ stamps


def test_an_edit_of_a_linked_module_needs_no_build_but_its_description_does(clone):
    folder = clone.src / "words"
    before = workspace.source_digest(folder)
    (folder / "words" / "__init__.py").write_text("changed = True\n")
    (folder / "words" / "new.py").write_text("")
    (folder / "test").mkdir()
    (folder / "test" / "test_words.py").write_text("")
    assert workspace.source_digest(folder) == before
    (folder / "setup.py").write_text("# with another entry point\n")
    assert workspace.source_digest(folder) != before


def test_another_python_package_needs_a_build(clone):
    folder = clone.src / "words"
    before = workspace.source_digest(folder)
    (folder / "words" / "deep").mkdir()
    (folder / "words" / "deep" / "__init__.py").write_text("")
    assert workspace.source_digest(folder) != before


@pytest.mark.parametrize("change", ["edit", "rename", "new", "gone"])
def test_a_change_of_compiled_sources_needs_a_build(clone, change):
    folder = clone.src / "engine"
    before = workspace.source_digest(folder)
    source = folder / "engine.cpp"
    if change == "edit":
        source.write_text("int main() { return 1; }\n")
    elif change == "rename":
        source.rename(folder / "motor.cpp")
    elif change == "new":
        (folder / "part.hpp").write_text("")
    else:
        source.unlink()
    assert workspace.source_digest(folder) != before


def mark_built(clone, name, made_from="pins"):
    share = clone.install / name / "share" / name
    share.mkdir(parents=True)
    (share / "package.xml").write_text("")
    stamp = {"sources": workspace.source_digest(clone.src / name), "made_from": made_from}
    workspace.write_text(clone.state / f"{name}.json", json.dumps(stamp))


def test_only_what_changed_is_stale(clone):
    packages = workspace.find_packages(clone)
    assert workspace.stale_packages(clone, packages, "pins") == ["engine", "words"]
    mark_built(clone, "engine")
    mark_built(clone, "words")
    assert workspace.stale_packages(clone, packages, "pins") == []
    (clone.src / "engine" / "engine.cpp").write_text("int main() { return 2; }\n")
    assert workspace.stale_packages(clone, packages, "pins") == ["engine"]
    assert workspace.stale_packages(clone, packages, "other pins") == ["engine", "words"]


def test_an_interrupted_build_and_a_torn_stamp_are_stale(clone):
    packages = workspace.find_packages(clone)
    mark_built(clone, "engine")
    mark_built(clone, "words")
    workspace.write_text(clone.state / "engine.json", json.dumps({"made_from": "pins"}))
    (clone.state / "words.json").write_text('{"sources": "ab')
    assert workspace.stale_packages(clone, packages, "pins") == ["engine", "words"]


class FakeSetup:
    """Stands in for the network and the compilers; says which steps were taken."""

    def __init__(self, clone, monkeypatch):
        self.clone = clone
        self.steps = []
        self.fail_in = None
        python = {"full": "3.11.2", "executable": "/usr/bin/python3"}
        monkeypatch.setattr(workspace, "check_machine", lambda *_: python)
        monkeypatch.setattr(workspace, "run_logged", lambda *_, **__: self.make_venv())
        monkeypatch.setattr(workspace, "install_packages", lambda *_: self.step("install"))
        monkeypatch.setattr(workspace, "compile_packages", lambda *_: self.step("compile"))
        monkeypatch.setattr(workspace, "adapt_cmake_files", lambda *_: self.step("adapt"))
        monkeypatch.setattr(workspace, "build_packages", self.build)

    def step(self, name):
        self.steps.append(name)
        if self.fail_in == name:
            raise KeyboardInterrupt

    def make_venv(self):
        self.step("venv")
        (self.clone.venv / "bin").mkdir(parents=True)
        (self.clone.venv / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        self.clone.python.write_text("")

    def build(self, clone, packages, stale, made_from, environment):
        self.step("build " + " ".join(stale))
        for name in stale:
            shutil.rmtree(clone.install / name, ignore_errors=True)
            mark_built(clone, name, made_from)

    def run(self, **environ):
        self.steps = []
        workspace.setup(self.clone, environ=environ)
        return self.steps


@pytest.fixture
def fake(clone, monkeypatch):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    return FakeSetup(clone, monkeypatch)


def test_the_second_run_does_nothing(fake, capsys):
    assert fake.run() == ["venv", "install", "compile", "adapt", "build engine words"]
    out = capsys.readouterr().out
    assert "[1/5] Checking this machine ... 0 s" in out
    assert "[5/5] Building engine, words" in out
    assert fake.run() == []
    assert "up to date" in capsys.readouterr().out


def test_an_interrupted_install_starts_the_environment_anew(fake):
    fake.fail_in = "install"
    with pytest.raises(KeyboardInterrupt):
        fake.run()
    (fake.clone.venv / "half-written").write_text("")
    fake.fail_in = None
    assert fake.run() == ["venv", "install", "compile", "adapt", "build engine words"]
    assert not (fake.clone.venv / "half-written").exists()


def test_new_pins_go_into_the_old_environment(fake):
    fake.run()
    fake.clone.lock_file.write_text("numpy==1.1\n")
    assert fake.run() == ["install", "compile", "adapt", "build engine words"]


def test_a_moved_clone_is_built_anew(fake, tmp_path):
    fake.run()
    fake.clone.root.rename(tmp_path / "moved")
    fake.clone = workspace.Workspace(tmp_path / "moved")
    assert fake.run()[:2] == ["venv", "install"]


def test_a_vanished_interpreter_is_noticed(fake):
    fake.run()
    fake.clone.python.unlink()
    assert fake.run()[:2] == ["venv", "install"]


# ------------------------------------------------------------------------------- environment


def test_a_ros_installation_is_used_and_kept_for_later_shells(fake, capsys):
    sourced = {
        "ROS_DISTRO": "kilted",
        "AMENT_PREFIX_PATH": "/opt/ros/kilted",
        "PYTHONPATH": "/opt/ros/kilted/lib/python3.12/site-packages",
        "PATH": "/opt/ros/kilted/bin:/usr/bin",
    }
    assert "adapt" not in fake.run(**sourced)
    assert "and the sourced ROS 2 kilted ..." in capsys.readouterr().out
    script = fake.clone.env_file.read_text()
    assert "/opt/ros/kilted/lib/python3.12/site-packages" in script
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in script
    assert fake.run() == []
    assert fake.clone.env_file.read_text() == script


def test_our_own_environment_is_no_ros_installation(fake):
    fake.run()
    ours = {
        "ROS_DISTRO": "kilted",
        "AMENT_PREFIX_PATH": f"{fake.clone.install}/words:{fake.clone.venv}",
    }
    assert workspace.ros_installation(fake.clone, ours) is None
    assert fake.run(**ours) == []


def test_what_a_ros_installation_brings_is_not_installed_over_it(clone):
    ros = {"ROS_DISTRO": "kilted"}
    assert [line.split("==")[0] for line in workspace.locked_requirements(clone, ros)] == ["rich"]
    assert len(workspace.locked_requirements(clone, None)) == 3


def test_the_environment_script_keeps_the_users_choice_and_can_be_sourced_twice(fake):
    fake.run()
    script = f'. "{fake.clone.env_file}"; . "{fake.clone.env_file}"; env'
    for chosen, expected in (("", "LOCALHOST"), ("SUBNET", "SUBNET")):
        environ = {"PATH": "/usr/bin:/bin"}
        if chosen:
            environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = chosen
        out = subprocess.run(
            ["bash", "-c", script], env=environ, capture_output=True, text=True, check=True
        ).stdout
        got = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        assert got["ROS_AUTOMATIC_DISCOVERY_RANGE"] == expected
        assert got["PATH"] == f"{fake.clone.venv}/bin:/usr/bin:/bin"
        assert got["PYTHONPATH"].split(":")[0] == str(fake.clone.src / "words")


def test_a_failed_command_shows_the_end_of_its_log(tmp_path):
    log = tmp_path / "log" / "x.log"
    command = ["sh", "-c", "seq 100; echo the reason >&2; exit 3"]
    with pytest.raises(workspace.SetupError) as caught:
        workspace.run_logged(command, log)
    text = str(caught.value)
    assert "exit code 3" in text
    assert str(log) in text
    assert text.endswith("the reason")
    assert len(text.splitlines()) < 30


# ------------------------------------------------------------------------------------- pins


def test_every_pin_is_exact_and_names_no_host_or_path():
    lines = (ROOT / "tools" / "requirements" / "lock.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 100
    for pin in pins:
        assert "==" in pin.split(";")[0], pin
        assert "/" not in pin, pin
        assert "@" not in pin, pin


def test_the_lock_holds_everything_that_is_asked_for():
    folder = ROOT / "tools" / "requirements"
    lock = (folder / "lock.txt").read_text()
    for path in folder.glob("*.txt"):
        for line in path.read_text().splitlines():
            name = line.split("#")[0].strip()
            if name:
                name = workspace.re.split(r"[<>=~!\[ ;]", name)[0].lower()
                assert f"\n{name}==" in lock, f"{path.name}: {name}; run `make lock`"


# ---------------------------------------------------------------------------------- launcher


def test_apisctl_says_what_to_do_before_the_setup(tmp_path):
    shutil.copy(ROOT / "apisctl", tmp_path / "apisctl")
    link = tmp_path / "elsewhere"
    link.symlink_to(tmp_path / "apisctl")
    done = subprocess.run([str(link), "status"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 2
    assert done.stderr == "apisctl: not set up yet; run `make setup` first\n"


def test_apisctl_notices_a_moved_folder(fake, tmp_path):
    fake.run()
    fake.clone.python.chmod(0o755)
    moved = tmp_path / "moved"
    fake.clone.root.rename(moved)
    shutil.copy(ROOT / "apisctl", moved)
    shutil.copy(ROOT / "tools" / "env.sh", moved / "tools")
    for command in ([str(moved / "apisctl")], ["bash", "-c", f'. "{moved}/tools/env.sh"']):
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert done.returncode == 2
        assert done.stderr.endswith("was moved since it was set up; run `make setup` first\n")
