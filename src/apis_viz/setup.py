"""Build description of apis_viz, read by colcon."""

from catkin_pkg.python_setup import generate_distutils_setup
from setuptools import find_packages, setup

PACKAGE = "apis_viz"

setup(
    **generate_distutils_setup(  # adds what package.xml says: name, version, licence, ...
        packages=find_packages(exclude=["test", "test.*"]),
        package_data={"": ["py.typed"], f"{PACKAGE}.dashboard": ["static/*"]},
        data_files=[
            ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
            (f"share/{PACKAGE}", ["package.xml", "plugin.xml"]),
        ],
        zip_safe=False,
        extras_require={"test": ["pytest"]},  # by which `colcon test` knows how
        entry_points={
            "console_scripts": [
                "dashboard = apis_viz.dashboard.main:main",
                "markers = apis_viz.markers.main:main",
                "metrics = apis_viz.metrics.main:main",
                "recorder = apis_viz.recorder.record:main",
                "player = apis_viz.recorder.play:main",
                "grid_window = apis_viz.rqt.main:main",
                "compat_http = apis_viz.compat.main:main",
            ]
        },
    )
)
