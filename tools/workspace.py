#!/usr/bin/env python3
"""Set up the workspace: environment, pinned packages, build.

    python3 tools/workspace.py setup     do what is not done yet (`make setup`)
    python3 tools/workspace.py check     only say what this machine lacks
    python3 tools/workspace.py lock      resolve the pins again (tools/requirements/lock.txt)

Two kinds of environment come out, and everything else is the same for both:

* With a ROS 2 installation sourced, `.venv` sees the installation's Python packages and holds
  only what ROS does not bring. Later shells need not source it again; `make clean` forgets it.
* Otherwise `.venv` holds ROS 2 itself, from the `ros-kilted-*` wheels.

Every step leaves a stamp that names what it was made from; a step whose stamp still fits is not
done again, and one that was interrupted has no stamp. Standard library only, and nothing newer
than Python 3.8, so that this file can say so itself when the Python is too old.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUPPORTED_PYTHONS = [(3, 10), (3, 11), (3, 12), (3, 13)]
OLDEST_GLIBC = (2, 28)  # what the wheels are built for
NEEDED_DISK_GB = 2.5
LAYOUT = 1  # raise it to make every clone start its environment anew

# Not from PyPI where a ROS 2 installation brings its own: its compiled modules and its code
# generators were made for exactly these.
FROM_ROS_INSTALLATION = re.compile(r"^(ros-|numpy$|pyyaml$|lark|empy$|cmake$)")


class SetupError(Exception):
    """Something that the user has to know and can act on; its text is the whole message."""


class Workspace:
    """The paths of one clone."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.src = self.root / "src"
        self.requirements = self.root / "tools" / "requirements"
        self.lock_file = self.requirements / "lock.txt"
        self.venv = self.root / ".venv"
        self.build = self.root / "build"
        self.install = self.root / "install"
        self.state = self.build / "setup"
        self.logs = self.build / "log"
        self.env_file = self.build / "env.sh"
        self.venv_stamp = self.venv / "apis-setup.json"

    @property
    def python(self):
        """The environment's interpreter."""
        return self.venv / "bin" / "python"


# --------------------------------------------------------------------------- what is lacking


class Lack:
    """One thing that the machine lacks, and the Debian packages that bring it."""

    def __init__(self, what, *debian_packages):
        self.what = what
        self.debian_packages = debian_packages


def lacking_message(lacks):
    """One line that names everything that is lacking and the one command that brings it."""
    whats = [lack.what for lack in lacks]
    text = whats[0] if len(whats) == 1 else ", ".join(whats[:-1]) + " and " + whats[-1]
    packages = list(dict.fromkeys(p for lack in lacks for p in lack.debian_packages))
    line = "This machine lacks " + text
    if packages:
        line += "; on Debian or Ubuntu: sudo apt install " + " ".join(packages)
    return line


def lacking_platform(ros):
    """What of the operating system is not as the wheels need it."""
    if ros:
        return []
    lacks = []
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        lacks.append(
            Lack(
                "Linux on x86-64 (this is {} on {}; elsewhere source a ROS 2 installation "
                "first)".format(platform.system(), platform.machine())
            )
        )
        return lacks
    name, version = platform.libc_ver()
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if name != "glibc" or numbers < OLDEST_GLIBC:
        lacks.append(Lack("glibc {}.{} or newer".format(*OLDEST_GLIBC)))
    return lacks


_PROBE = """
import json, os, sys, sysconfig
try:
    import venv, ensurepip
    has_venv = True
except ImportError:
    has_venv = False
print(json.dumps({
    "version": list(sys.version_info[:2]),
    "full": sys.version.split()[0],
    "implementation": sys.implementation.name,
    "venv": has_venv,
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
    "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
    "executable": sys.executable,
}))
"""


def probe_python(command):
    """What an interpreter is and has, or None where the command does not start one."""
    path = shutil.which(command)
    if path is None:
        return None
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment.update(_ROS_WHEELS_BOOTSTRAP_COMPLETE="1")
    try:
        out = subprocess.run(
            [path, "-c", _PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=True,
            env=environment,
        ).stdout
        return json.loads(out.decode())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def python_candidates():
    """Commands that may be a fitting Python, the user's own word first."""
    if os.environ.get("APIS_PYTHON"):
        return [os.environ["APIS_PYTHON"]]
    minors = sorted((minor for _, minor in SUPPORTED_PYTHONS), reverse=True)
    return ["python3"] + ["python3.{}".format(minor) for minor in minors]


def is_supported(found):
    """Whether wheels exist for this interpreter."""
    return (
        tuple(found["version"]) in SUPPORTED_PYTHONS
        and found["implementation"] == "cpython"
        and found["gil"]
    )


def choose_python(ros, candidates=None):
    """The Python to build the environment from, and what it lacks.

    With a ROS 2 installation it has to be the one that the installation was made for, which is
    the `python3` that its set-up left on the path.
    """
    best, best_lacks, wrong = None, None, None
    for command in candidates or (["python3"] if ros else python_candidates()):
        found = probe_python(command)
        if found is None:
            continue
        if not is_supported(found):
            wrong = wrong or found
            continue
        package = command if command.startswith("python3.") else "python3"
        lacks = []
        if not found["venv"]:
            lacks.append(Lack("Python's venv module", package + "-venv"))
        if not found["headers"]:
            what = "Python's headers (Python.h of {})".format(found["executable"])
            lacks.append(Lack(what, package + "-dev"))
        if not lacks:
            return found, []
        if best is None or len(lacks) < len(best_lacks):
            best, best_lacks = found, lacks
    if best is not None:
        return best, best_lacks
    what = "a supported Python (CPython {}.{} to {}.{}".format(
        *SUPPORTED_PYTHONS[0], *SUPPORTED_PYTHONS[-1]
    )
    if os.environ.get("APIS_PYTHON"):
        what += "; APIS_PYTHON is " + os.environ["APIS_PYTHON"]
    elif wrong is not None:
        what += "; python3 is {}".format(wrong["full"])
    return None, [Lack(what + ")", "python3", "python3-venv", "python3-dev")]


def lacking_compilers():
    """What of the C and C++ compilers is not there or too old."""
    lacks = []
    with tempfile.TemporaryDirectory() as scratch:
        for variable, commands, suffix, option, code, what in (
            ("CC", ["cc", "gcc", "clang"], ".c", "-std=c11", "#include <stdint.h>\n", "a C"),
            (
                "CXX",
                ["c++", "g++", "clang++"],
                ".cpp",
                "-std=c++17",
                "#include <optional>\nstd::optional<int> x;\n",
                "a C++17",
            ),
        ):
            source = Path(scratch) / ("probe" + suffix)
            source.write_text(code)
            commands = shlex.split(os.environ.get(variable, ""))[:1] or commands
            command = next((c for c in commands if shutil.which(c)), None)
            works = command is not None and (
                subprocess.run(
                    [command, option, "-c", str(source), "-o", str(source) + ".o"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ).returncode
                == 0
            )
            if not works:
                lacks.append(Lack(what + " compiler", "g++"))
    return lacks


def lacking_disk(workspace):
    """Whether the file system has no room for the environment."""
    if workspace.venv_stamp.exists():
        return []
    free_gb = shutil.disk_usage(str(workspace.root)).free / 1e9
    if free_gb >= NEEDED_DISK_GB:
        return []
    return [Lack("disk space ({:.1f} GB free, {} needed)".format(free_gb, NEEDED_DISK_GB))]


def check_machine(workspace, ros):
    """The Python to use. Raises SetupError with one line when something is lacking."""
    python, lacks = choose_python(ros)
    lacks = lacking_platform(ros) + lacks + lacking_compilers() + lacking_disk(workspace)
    if lacks:
        raise SetupError(lacking_message(lacks))
    return python


# ------------------------------------------------------------------------------------ stamps


def digest(*parts):
    """Hash of texts, bytes and files (given as paths), in order."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            part = part.read_bytes() if part.is_file() else b"-"
        elif isinstance(part, str):
            part = part.encode()
        sha.update(str(len(part)).encode() + b":" + part)
    return sha.hexdigest()


def read_stamp(path):
    """What a stamp says; an unreadable or missing one says nothing."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_text(path, text):
    """Write a file so that an interruption leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    os.replace(str(temporary), str(path))


def remove(*paths):
    """Remove files and folders that may not be there."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(str(path))
        elif path.exists() or path.is_symlink():
            path.unlink()


# ------------------------------------------------------------------------------------- steps


class Progress:
    """One line per step: `[2/5] Installing 250 pinned packages ... 14 s`."""

    def __init__(self, total, stream=None):
        self.total = total
        self.number = 0
        self.stream = stream or sys.stdout

    @contextlib.contextmanager
    def step(self, text):
        """Print the step's line and, at its end, how long it took."""
        self.number += 1
        self.stream.write("[{}/{}] {} ... ".format(self.number, self.total, text))
        self.stream.flush()
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self.stream.write("failed\n")
            self.stream.flush()
            raise
        self.stream.write("{:.0f} s\n".format(time.monotonic() - started))
        self.stream.flush()


def run_logged(command, log, env=None, cwd=None, append=False):
    """Run a command with its output in a log file; on failure show the log's last lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab" if append else "wb") as stream:
        stream.write(("$ " + " ".join(shlex.quote(str(c)) for c in command) + "\n").encode())
        stream.flush()
        code = subprocess.run(
            [str(c) for c in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=str(cwd) if cwd else None,
        ).returncode
    if code != 0:
        lines = log.read_text(errors="replace").splitlines()[-25:]
        raise SetupError(
            "{} failed with exit code {}. The last lines of {}:\n{}".format(
                Path(str(command[0])).name, code, log, "\n".join("    " + x for x in lines)
            )
        )


def ros_installation(workspace, environ):
    """The sourced ROS 2 installation as {variable: value}, or None.

    Our own environment, sourced from tools/env.sh, sets the same variables and is none.
    """
    prefixes = [p for p in environ.get("AMENT_PREFIX_PATH", "").split(":") if p]
    ours = str(workspace.root) + os.sep
    outside = [p for p in prefixes if not p.startswith(ours)]
    if not environ.get("ROS_DISTRO") or not outside or str(workspace.venv) in prefixes:
        return None
    installation = {"ROS_DISTRO": environ["ROS_DISTRO"]}
    for name in (
        "AMENT_PREFIX_PATH",
        "CMAKE_PREFIX_PATH",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PATH",
    ):
        parts = [p for p in environ.get(name, "").split(":") if p and not p.startswith(ours)]
        installation[name] = ":".join(parts)
    for name in ("ROS_VERSION", "ROS_PYTHON_VERSION", "RMW_IMPLEMENTATION"):
        if environ.get(name):
            installation[name] = environ[name]
    return installation


def locked_requirements(workspace, ros):
    """The lines of the lock file that this environment takes."""
    lines = []
    for line in workspace.lock_file.read_text().splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name = re.split(r"[=<>!~ ;\[]", line, maxsplit=1)[0].lower()
        if not (ros and FROM_ROS_INSTALLATION.match(name)):
            lines.append(line)
    return lines


def environment_key(workspace, ros):
    """What the environment is made from, apart from its packages."""
    return {
        "layout": LAYOUT,
        "root": str(workspace.root),
        "ros": {k: ros[k] for k in ("ROS_DISTRO", "AMENT_PREFIX_PATH")} if ros else None,
    }


def create_venv(workspace, python, ros):
    """An empty environment in place of whatever was there; builds against the old one go too."""
    remove(workspace.venv, workspace.install)
    remove(*(path.parent for path in workspace.build.glob("*/colcon_build.rc")))
    remove(*workspace.state.glob("*.json"))
    command = [python["executable"], "-m", "venv"]
    if ros:
        command.append("--system-site-packages")
    run_logged([*command, workspace.venv], workspace.logs / "venv.log")


def quiet_environ(**extra):
    """This process's environment without what would lead pip, uv or the interpreter astray."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    env.update({"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    env.update(extra)
    return env


def install_packages(workspace, lines):
    """Install the locked packages: with uv, which is ten times faster, or else with pip."""
    log = workspace.logs / "packages.log"
    listed = workspace.state / "requirements.txt"
    write_text(listed, "\n".join(lines) + "\n")
    env = quiet_environ()
    pip = [workspace.python, "-m", "pip", "install", "--no-input", "--no-deps"]
    uv = workspace.venv / "bin" / "uv"
    pinned_uv = [line for line in lines if line.startswith("uv==")]
    write_text(log, "")
    with contextlib.suppress(SetupError):
        if not uv.exists():
            run_logged(pip + pinned_uv, log, env=env, append=True)
        run_logged(
            [uv, "pip", "install", "--python", workspace.python, "--no-deps", "-r", listed],
            log,
            env=dict(env, UV_NO_PROGRESS="1"),
            append=True,
        )
        return
    run_logged([*pip, "-r", listed], log, env=env, append=True)


def compile_packages(workspace):
    """Compile the packages to bytecode: once here instead of at the first start of everything.

    Where PYTHONDONTWRITEBYTECODE is set it would even be at every start.
    """
    command = [
        workspace.python, "-m", "compileall", "-q", "-j", str(len(os.sched_getaffinity(0))),
        "-x", "/(tests?|testing)/", site_packages(workspace),
    ]  # fmt: skip
    with contextlib.suppress(SetupError):  # packages ship templates that are no Python
        run_logged(command, workspace.logs / "bytecode.log", env=quiet_environ())


def site_packages(workspace):
    """The environment's folder of Python packages."""
    return next((workspace.venv / "lib").glob("python3.*")) / "site-packages"


_BUILD_MACHINE_NUMPY = re.compile(
    r"/opt/python/cp3\d+-cp3\d+t?/lib/python3\.\d+t?/site-packages/numpy/_?core/include"
)
_BUILD_MACHINE_PYTHON = re.compile(r"/opt/python/cp3\d+-cp3\d+t?/include/python3\.\d+t?")


def rewrite_build_paths(text, python_include, numpy_include):
    """The CMake text with the wheels' build machine's include folders replaced by local ones."""
    text = _BUILD_MACHINE_NUMPY.sub(lambda _: numpy_include, text)
    return _BUILD_MACHINE_PYTHON.sub(lambda _: python_include, text)


def adapt_cmake_files(workspace):
    """Make the ROS wheels' CMake files name this machine's folders; returns how many it changed.

    Files are replaced, not written in place: they may be hard links into a package cache.
    """
    out = subprocess.run(
        [str(workspace.python), "-c", "import sysconfig; print(sysconfig.get_path('include'))"],
        stdout=subprocess.PIPE,
        check=True,
        env=quiet_environ(),
    ).stdout
    python_include = out.decode().strip()
    numpy_include = str(site_packages(workspace) / "numpy" / "_core" / "include")
    changed = 0
    for path in (workspace.venv / "share").rglob("*.cmake"):
        old = path.read_text(errors="surrogateescape")
        new = rewrite_build_paths(old, python_include, numpy_include)
        if new != old:
            temporary = path.with_name(path.name + ".part")
            temporary.write_text(new, errors="surrogateescape")
            os.replace(str(temporary), str(path))
            changed += 1
    return changed


# ------------------------------------------------------------------------------------- build


def find_packages(workspace):
    """Name → folder of every package of the workspace."""
    return {path.parent.name: path.parent for path in sorted(workspace.src.glob("*/package.xml"))}


def source_digest(folder):
    """Hash of what a package's build reads.

    Of a Python package the modules do not count, they are linked and not copied: only which
    packages it is made of.
    """
    parts = []
    is_python = (folder / "setup.py").exists()
    not_built = (folder.name, "test") if is_python else ()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        top = relative.parts[0]
        if is_python and top == folder.name and path.name == "__init__.py":
            parts.append(str(relative))
        if top in not_built or top.endswith(".egg-info") or "__pycache__" in relative.parts:
            continue
        if path.is_file() and path.suffix not in (".pyc", ".md"):
            parts += [str(relative), path]
    return digest(*parts)


def stale_packages(workspace, packages, made_from):
    """The packages to build: not built yet, built from something else, or interrupted."""
    stale = []
    for name, folder in packages.items():
        stamp = read_stamp(workspace.state / (name + ".json"))
        if (
            stamp.get("sources") != source_digest(folder)
            or stamp.get("made_from") != made_from
            or not (workspace.install / name / "share" / name / "package.xml").exists()
        ):
            stale.append(name)
    return stale


def build_packages(workspace, packages, stale, made_from, environment):
    """Build packages with colcon; those that succeed are not built again even if others fail."""
    digests = {name: source_digest(packages[name]) for name in stale}
    for name in stale:
        stamp = workspace.state / (name + ".json")
        is_python = (packages[name] / "setup.py").exists()
        if is_python or read_stamp(stamp).get("made_from") != made_from:
            # made with other packages: what CMake remembers of them would mislead
            remove(workspace.build / name, workspace.install / name)
        write_text(stamp, json.dumps({"made_from": made_from}))  # under way, not done
    started = time.time()
    jobs = len(os.sched_getaffinity(0))
    env = dict(os.environ)
    env.update(environment)
    # A load limit, which colcon sets without this, leaves one of two cores idle.
    env["MAKEFLAGS"] = "-j{}".format(jobs)
    command = [
        workspace.venv / "bin" / "colcon", "--log-base", workspace.logs / "colcon", "build",
        "--base-paths", workspace.src, "--build-base", workspace.build,
        "--install-base", workspace.install, "--symlink-install", "--packages-select", *stale,
        "--executor", "parallel", "--parallel-workers", str(jobs),
        "--event-handlers", "console_direct+", "console_stderr-", "--continue-on-error",
        "--cmake-args", "-G", "Ninja", "-Wno-dev",
    ]  # fmt: skip
    write_text(workspace.build / "COLCON_IGNORE", "")
    try:
        run_logged(command, workspace.logs / "build.log", env=env, cwd=workspace.root)
    finally:
        for name in stale:
            marker = workspace.install / name / "share" / "colcon-core" / "packages" / name
            outcome = workspace.build / name / "colcon_build.rc"
            built = marker.exists() and outcome.exists() and outcome.read_text().strip() == "0"
            if built and outcome.stat().st_mtime >= started - 1:
                stamp = {"sources": digests[name], "made_from": made_from}
                write_text(workspace.state / (name + ".json"), json.dumps(stamp))


# ------------------------------------------------------------------------------- environment


def base_environment(workspace, ros):
    """The variables of the environment below our own packages."""
    venv = str(workspace.venv)
    if ros:
        env = dict(ros)
        env["PATH"] = venv + "/bin:" + ros["PATH"]
        env["PYTHONPATH"] = ":".join(filter(None, [ros["PYTHONPATH"]]))
    else:
        site = site_packages(workspace)
        libs = [venv + "/lib", *sorted(str(p) for p in site.glob("ros_*.libs"))]
        env = {
            "ROS_DISTRO": "kilted",
            "ROS_VERSION": "2",
            "ROS_PYTHON_VERSION": "3",
            "AMENT_PREFIX_PATH": venv,
            "CMAKE_PREFIX_PATH": venv,
            "LD_LIBRARY_PATH": ":".join(libs),
            "PYTHONPATH": "",
            "PATH": venv + "/bin:" + os.environ.get("PATH", os.defpath),
            # the wheels start every process a second time to set LD_LIBRARY_PATH, unless told
            "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        }
    env["VIRTUAL_ENV"] = venv
    return env


def overlay_environment(workspace, ros, packages):
    """The variables of the environment with our own packages on top."""
    env = base_environment(workspace, ros)
    site = site_packages(workspace).relative_to(workspace.venv)
    prefixes, libraries, modules = [], [], []
    for name, folder in packages.items():
        prefix = workspace.install / name
        prefixes.append(str(prefix))
        if (folder / "setup.py").exists():
            modules.append(str(folder))  # the sources themselves; beside them:
            modules.append(str(workspace.build / name))  # the entry points
        elif (prefix / site).is_dir():
            modules.append(str(prefix / site))
        if (prefix / "lib").is_dir() and any((prefix / "lib").glob("*.so")):
            libraries.append(str(prefix / "lib"))

    def on_top(name, parts):
        env[name] = ":".join(parts + [p for p in env.get(name, "").split(":") if p])

    on_top("AMENT_PREFIX_PATH", prefixes)
    on_top("CMAKE_PREFIX_PATH", prefixes)
    on_top("LD_LIBRARY_PATH", libraries)
    on_top("PYTHONPATH", modules)
    return env


def env_script(workspace, env):
    """A shell script of exports, for bash, dash and zsh; sourcing it twice changes nothing."""
    lines = [
        "# The environment of {}".format(workspace.root),  # apisctl and env.sh look at this line
        "# Written by tools/workspace.py; source tools/env.sh instead of this file.",
    ]
    bin_folder = str(workspace.venv / "bin")
    for name, value in sorted(env.items()):
        if name == "PATH":
            lines.append(
                'case ":$PATH:" in *:{0}:*) ;; *) export PATH={0}:"$PATH" ;; esac'.format(
                    shlex.quote(bin_folder)
                )
            )
        else:
            lines.append("export {}={}".format(name, shlex.quote(value)))
    lines.append(
        'export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"'
    )
    # what the user chose stays
    profiles = shlex.quote(str(workspace.root / "config" / "fastdds.xml"))
    lines.append('[ -n "${FASTDDS_DEFAULT_PROFILES_FILE:-}" ] ||')
    lines.append("  export FASTDDS_DEFAULT_PROFILES_FILE={}".format(profiles))
    lines.append("export APIS_ROOT={}".format(shlex.quote(str(workspace.root))))
    return "\n".join(lines) + "\n"


def write_environment(workspace, ros, packages):
    """Write build/env.sh where it does not say the right thing yet."""
    text = env_script(workspace, overlay_environment(workspace, ros, packages))
    if not workspace.env_file.exists() or workspace.env_file.read_text() != text:
        write_text(workspace.env_file, text)


def underlay_script(workspace, env):
    """What `source install/setup.bash` needs to find the wheels below our packages."""
    lines = ["# Written by tools/workspace.py: lets `source install/setup.bash` find this prefix."]
    lines.append("export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1")
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH", "PATH"):
        value = str(workspace.venv / "bin") if name == "PATH" else env[name]
        lines.append(
            'case ":${0}:" in *:{1}:*) ;; *) export {0}={1}${{{0}:+:${0}}} ;; esac'.format(
                name, shlex.quote(value)
            )
        )
    return "\n".join(lines) + "\n"


# -------------------------------------------------------------------------------------- setup


def setup(workspace, environ=None):
    """Bring the workspace up to date; prints one line per step."""
    environ = os.environ if environ is None else environ
    started = time.monotonic()
    ros = ros_installation(workspace, environ)
    workspace.state.mkdir(parents=True, exist_ok=True)
    with (workspace.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another set-up of this folder to finish ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        did_something = _setup_locked(workspace, ros, "ROS_DISTRO" in environ)
    seconds = time.monotonic() - started
    if did_something:
        print("The workspace is ready ({:.0f} s).".format(seconds), flush=True)
    else:
        print("The workspace is up to date ({:.1f} s).".format(seconds), flush=True)


def _setup_locked(workspace, ros, is_sourced):
    stamp = read_stamp(workspace.venv_stamp)
    if ros is None and not is_sourced and stamp.get("key", {}).get("ros"):
        # set up with a ROS 2 installation, called from a shell that has not sourced it
        ros = stamp.get("installation")
    key = environment_key(workspace, ros)
    lines = locked_requirements(workspace, ros)
    pins = digest("\n".join(lines))
    fits = stamp.get("key") == key and workspace.python.exists()
    installed = fits and stamp.get("pins") == pins
    packages = find_packages(workspace)
    made_from = digest(json.dumps(key, sort_keys=True), pins)
    stale = list(packages) if not installed else stale_packages(workspace, packages, made_from)
    if installed and not stale:
        write_environment(workspace, ros, packages)
        return False

    progress = Progress(2 + (0 if fits else 1) + (0 if installed else 2))
    with progress.step("Checking this machine"):
        python = check_machine(workspace, ros)
    if not fits:
        below = " and the sourced ROS 2 " + ros["ROS_DISTRO"] if ros else ""
        with progress.step("Creating .venv for Python {}{}".format(python["full"], below)):
            create_venv(workspace, python, ros)
    if not installed:
        with progress.step("Installing {} pinned packages".format(len(lines))):
            remove(workspace.venv_stamp)
            install_packages(workspace, lines)
        with progress.step("Preparing them for this machine"):
            compile_packages(workspace)
            if not ros:
                adapt_cmake_files(workspace)
                env = base_environment(workspace, ros)
                for name in ("local_setup.sh", "local_setup.bash", "local_setup.zsh"):
                    write_text(workspace.venv / name, underlay_script(workspace, env))
            write_text(
                workspace.venv_stamp,
                json.dumps({"key": key, "pins": pins, "installation": ros}, indent=1),
            )
    with progress.step("Building {}".format(", ".join(stale))):
        try:
            environment = base_environment(workspace, ros)
            build_packages(workspace, packages, stale, made_from, environment)
        finally:
            write_environment(workspace, ros, packages)
    return True


def plain_markers(text):
    """The lock file's text without the conditions that hold wherever it is used."""
    always = (
        "python_full_version < '3.{}'".format(SUPPORTED_PYTHONS[-1][1] + 1),
        "implementation_name == 'cpython'",
        "platform_machine == 'x86_64'",
        "platform_python_implementation == 'CPython'",
        "sys_platform == 'linux'",
    )
    lines = []
    for line in text.splitlines():
        requirement, _, marker = line.partition(" ; ")
        terms = [term for term in marker.split(" and ") if term and term not in always]
        lines.append(requirement + (" ; " + " and ".join(terms) if terms else ""))
    return "\n".join(lines) + "\n"


def resolve(workspace, inputs, target, header):
    """Resolve requirement files into a lock file, for every supported Python at once."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / target.name
        subprocess.run(
            [
                str(workspace.venv / "bin" / "uv"),
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--python-version",
                "{}.{}".format(*SUPPORTED_PYTHONS[0]),
                "--no-header",
                "--no-annotate",
                "--no-emit-index-url",
                "--no-emit-find-links",
                "-o",
                str(out),
                *map(str, inputs),
            ],
            check=True,
            env=quiet_environ(),
            cwd=str(workspace.root),  # pyproject.toml names the platform
        )
        write_text(target, header + plain_markers(out.read_text()))


def resolve_lock(workspace):
    """Resolve tools/requirements/*.txt into lock.txt, and docs.in into docs.lock."""
    inputs = sorted(p for p in workspace.requirements.glob("*.txt") if p != workspace.lock_file)
    header = (
        "# Every package of the environment, for CPython {}.{} to {}.{} on x86-64 Linux.\n"
        "# Written by `make lock` from the other files of this folder: edit those.\n"
    ).format(*SUPPORTED_PYTHONS[0], *SUPPORTED_PYTHONS[-1])
    resolve(workspace, inputs, workspace.lock_file, header)
    resolve(
        workspace,
        [workspace.requirements / "docs.in"],
        workspace.requirements / "docs.lock",
        "# The environment of `make docs`, apart from ours. `make lock` wrote it from docs.in.\n",
    )


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Set up the APIS workspace.")
    parser.add_argument("command", choices=["setup", "check", "lock"])
    arguments = parser.parse_args(argv)
    workspace = Workspace(Path(__file__).resolve().parent.parent)
    try:
        if arguments.command == "setup":
            setup(workspace)
        elif arguments.command == "check":
            check_machine(workspace, ros_installation(workspace, os.environ))
            print("This machine has all that the set-up needs.")
        else:
            resolve_lock(workspace)
    except SetupError as error:
        print("setup: {}".format(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in a shell has it ignored
    sys.exit(main())
