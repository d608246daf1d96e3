"""Build description of apis_viz, read by colcon."""

from catkin_pkg.python_setup import generate_distutils_setup
from setuptools import find_packages, setup

PACKAGE = "apis_viz"

setup(
    **generate_distutils_setup(  # adds what package.xml says: name, version, licence, ...
        packages=find_packages(exclude=["test", "test.*"]),
        package_data={"": ["py.typed"]},
        data_files=[
            ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
            (f"share/{PACKAGE}", ["package.xml", "plugin.xml"]),
        ],
        zip_safe=False,
        extras_require={"test": ["pytest"]},  # by which `colcon test` knows how
        entry_points={
            "console_scripts": [
                "markers = apis_viz.programs:markers",
                "metrics = apis_viz.programs:metrics",
                "recorder = apis_viz.programs:recorder",
                "player = apis_viz.programs:player",
                "grid_window = apis_viz.programs:grid_window",
            ]
        },
    )
)
