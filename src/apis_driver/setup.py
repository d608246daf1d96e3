"""Build description of apis_driver, read by colcon."""

from catkin_pkg.python_setup import generate_distutils_setup
from setuptools import find_packages, setup

PACKAGE = "apis_driver"

setup(
    **generate_distutils_setup(  # adds what package.xml says: name, version, licence, ...
        packages=find_packages(exclude=["test", "test.*"]),
        package_data={"": ["py.typed", "*.yaml"]},
        data_files=[
            ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
            (f"share/{PACKAGE}", ["package.xml"]),
        ],
        zip_safe=False,
        extras_require={"test": ["pytest"]},  # by which `colcon test` knows how
        entry_points={
            "console_scripts": ["driver = apis_driver.main:main"],
            "apis_driver.dcdc": [
                "eza2500 = apis_driver.devices.eza2500:Eza2500",
                "control_loop = apis_driver.devices.control_loop:LoopDcdc",
                "http = apis_driver.devices.http:HttpDcdc",
                "emulator_http = apis_driver.devices.http:EmulatorDcdc",
            ],
            "apis_driver.battery": [
                "emulator_http = apis_driver.devices.http:EmulatorBattery",
                "http = apis_driver.devices.http:HttpBattery",
                "modbus = apis_driver.devices.modbus_battery:ModbusBattery",
            ],
        },
    )
)
