"""Build description of apis_signing, read by colcon."""

from setuptools import find_packages, setup

PACKAGE = "apis_signing"

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Keys of a grid, and who may say what: signatures over messages.",
    maintainer="APIS for ROS 2 developers",
    maintainer_email="apis@example.org",
    license="Apache-2.0",
    packages=find_packages(exclude=["test", "test.*"]),
    package_data={"": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    zip_safe=False,
    extras_require={"test": ["pytest"]},  # by which `colcon test` knows how
)
