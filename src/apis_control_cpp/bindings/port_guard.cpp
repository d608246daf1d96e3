// The guard of a serial port for Python. A module of its own: the control loop needs no ports.
#include "apis_control/port_guard.hpp"

#include <pybind11/pybind11.h>

#include <cmath>
#include <memory>
#include <string>

namespace py = pybind11;

namespace {

using apis_control::GpioSwitch;
using apis_control::GuardSettings;
using apis_control::PortGuard;
using apis_control::RtsSwitch;
using apis_control::SendSwitch;

constexpr double kLongest_s = 86400.0 * 365.0;  // fits into nanoseconds by far

std::chrono::nanoseconds seconds(const char* name, double value) {
  if (!(value > 0.0 && value <= kLongest_s)) {
    throw py::value_error(std::string(name) + " is " + std::to_string(value) +
                          ", it must be a number of seconds > 0");
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::ceil(value * 1e9)));
}

PortGuard::Bytes bytes_of(const py::bytes& data) {
  const auto text = static_cast<std::string>(data);
  return {text.begin(), text.end()};
}

PortGuard::Bytes frame_of(const py::bytes& frame) {
  auto bytes = bytes_of(frame);
  if (bytes.empty()) {
    throw py::value_error("frame is empty, it must be the bytes that order WAIT");
  }
  return bytes;
}

std::unique_ptr<SendSwitch> switch_of(int fd, const std::string& direction,
                                      const py::object& gpio_fd, bool is_high) {
  if (direction == "none") {
    return nullptr;
  }
  if (direction == "rts") {
    return std::make_unique<RtsSwitch>(fd, is_high);
  }
  if (direction == "gpio" && !gpio_fd.is_none()) {
    return std::make_unique<GpioSwitch>(gpio_fd.cast<int>(), is_high);
  }
  throw py::value_error("direction is " + direction +
                        ", it must be none, rts, or gpio with a gpio_fd");
}

void raise_os_error(int error) {
  errno = error;
  PyErr_SetFromErrno(PyExc_OSError);
  throw py::error_already_set();
}

}  // namespace

PYBIND11_MODULE(_port_guard, module) {
  module.doc() =
      "The dead man of a serial port; see _port_guard.pyi for the documented interface.";

  static const py::handle fired =
      PyErr_NewException("apis_control.GuardFired", PyExc_RuntimeError, nullptr);
  module.attr("GuardFired") = fired;

  py::class_<PortGuard>(module, "PortGuard")
      .def(
          py::init([](int fd, const py::bytes& frame, const std::string& direction,
                      const py::object& gpio_fd, bool is_active_high, double repeat_s, int times) {
            if (times < 1) {
              throw py::value_error("times is " + std::to_string(times) +
                                    ", it must be 1 or more");
            }
            GuardSettings settings;
            settings.repeat_every = seconds("repeat_s", repeat_s);
            settings.times = times;
            auto sender = switch_of(fd, direction, gpio_fd, is_active_high);
            try {
              return std::make_unique<PortGuard>(fd, frame_of(frame), settings, std::move(sender));
            } catch (const std::system_error& error) {
              raise_os_error(error.code().value());
              throw;
            }
          }),
          py::arg("fd"), py::arg("frame"), py::kw_only(), py::arg("direction") = "none",
          py::arg("gpio_fd") = py::none(), py::arg("is_active_high") = true,
          py::arg("repeat_s") = 0.2, py::arg("times") = 10)
      .def(
          "renew",
          [](PortGuard& guard, double hold_s) { return guard.renew(seconds("hold_s", hold_s)); },
          py::arg("hold_s"))
      .def("disarm", &PortGuard::disarm)
      .def(
          "set_frame",
          [](PortGuard& guard, const py::bytes& frame) { guard.set_frame(frame_of(frame)); },
          py::arg("frame"))
      .def(
          "write",
          [](PortGuard& guard, const py::bytes& data) {
            const auto bytes = bytes_of(data);
            int error = 0;
            {
              const py::gil_scoped_release release;
              error = guard.write(bytes);
            }
            if (error == ECANCELED) {
              PyErr_SetString(fired.ptr(),
                              "WAIT was sent because nothing was renewed in time; disarm() first");
              throw py::error_already_set();
            }
            if (error != 0) {
              raise_os_error(error);
            }
          },
          py::arg("data"))
      .def("close", &PortGuard::close, py::call_guard<py::gil_scoped_release>())
      .def(
          "__enter__", [](PortGuard& guard) -> PortGuard& { return guard; },
          py::return_value_policy::reference)
      .def("__exit__",
           [](PortGuard& guard, const py::args&) {
             const py::gil_scoped_release release;
             guard.close();
           })
      .def_property_readonly("armed", &PortGuard::is_armed)
      .def_property_readonly("fired", &PortGuard::has_fired)
      .def_property_readonly("written", &PortGuard::written)
      .def_property_readonly("last_error", &PortGuard::last_error);
}
