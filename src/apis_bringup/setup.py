"""Build description of apis_bringup, read by colcon."""

from glob import glob

from catkin_pkg.python_setup import generate_distutils_setup
from setuptools import find_packages, setup

PACKAGE = "apis_bringup"
ROOT = "../.."  # the launch files and samples stand where people look for them: at the top

setup(
    **generate_distutils_setup(  # adds what package.xml says: name, version, licence, ...
        packages=find_packages(exclude=["test", "test.*"]),
        package_data={"": ["py.typed"]},
        data_files=[
            ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
            (f"share/{PACKAGE}", ["package.xml"]),
            (f"share/{PACKAGE}/launch", sorted(glob(f"{ROOT}/launch/*.launch.py"))),
            (f"share/{PACKAGE}/config", sorted(glob(f"{ROOT}/config/*.*"))),
            (f"share/{PACKAGE}/rviz", sorted(glob(f"{ROOT}/rviz/*.rviz"))),
        ],
        zip_safe=False,
        extras_require={"test": ["pytest"]},  # by which `colcon test` knows how
        entry_points={"console_scripts": ["apisctl = apis_bringup.cli:main"]},
    )
)
