// The Python module: the parts one by one, and the errors.
#include "apis_control/energy_meter.hpp"
#include "apis_control/slew_limiter.hpp"
#include "border.hpp"

namespace py = pybind11;
using namespace apis_control;
using namespace apis_control::border;

PYBIND11_MODULE(_apis_control, module) {
  module.doc() =
      "C++ control parts of a converter; see _apis_control.pyi for the documented interface.";

  const auto error =
      py::register_exception<ControlError>(module, "ControlError", PyExc_ValueError);
  py::register_exception<InvalidTimeStep>(module, "InvalidTimeStep", error);
  py::register_exception<InvalidValue>(module, "InvalidValue", error);
  py::register_exception<Detached>(module, "Detached", error);
  py::register_exception<NotObeyed>(module, "NotObeyed", error);

  py::class_<EnergyMeter>(module, "EnergyMeter")
      .def(py::init<>())
      .def(
          "add",
          [](EnergyMeter& meter, double power_w, double dt_s) {
            meter.add(finite("power_w", power_w), time_step(dt_s));
          },
          py::arg("power_w"), py::arg("dt_s"))
      .def(
          "add_mean",
          [](EnergyMeter& meter, double power_w, double dt_s) {
            meter.add_mean(finite("power_w", power_w), time_step(dt_s));
          },
          py::arg("power_w"), py::arg("dt_s"))
      .def_property_readonly("charged_wh", &EnergyMeter::charged_wh)
      .def_property_readonly("discharged_wh", &EnergyMeter::discharged_wh);

  py::class_<SlewLimiter>(module, "SlewLimiter")
      .def(py::init([](double rate_per_s, double value) {
             return SlewLimiter(positive("rate_per_s", rate_per_s), finite("value", value));
           }),
           py::arg("rate_per_s"), py::arg("value") = 0.0)
      .def(
          "step",
          [](SlewLimiter& limiter, double reference, double dt_s) {
            return limiter.step(finite("reference", reference), time_step(dt_s));
          },
          py::arg("reference"), py::arg("dt_s"))
      .def(
          "reset",
          [](SlewLimiter& limiter, double value) { limiter.reset(finite("value", value)); },
          py::arg("value"))
      .def_property_readonly("value", &SlewLimiter::value)
      .def_property_readonly("rate_per_s", &SlewLimiter::rate_per_s);

  add_plant(module);
  add_house_run(module);
  add_loop(module);
}
