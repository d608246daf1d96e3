"""Build description of apis_study, read by colcon."""

from catkin_pkg.python_setup import generate_distutils_setup
from setuptools import find_packages, setup

PACKAGE = "apis_study"

setup(
    **generate_distutils_setup(  # adds what package.xml says: name, version, licence, ...
        packages=find_packages(exclude=["test", "test.*"]),
        package_data={"": ["py.typed"]},
        data_files=[
            ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
            (f"share/{PACKAGE}", ["package.xml"]),
        ],
        zip_safe=False,
        extras_require={"test": ["pytest"]},  # by which `colcon test` knows how
    )
)
