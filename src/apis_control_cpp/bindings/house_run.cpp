// One house over a year for Python.
#include "apis_control/house_run.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "border.hpp"

namespace py = pybind11;

namespace apis_control::border {

void add_house_run(py::module_& module) {
  py::class_<HouseTables, std::shared_ptr<HouseTables>>(module, "HouseTables")
      .def(py::init([](const py::dict& house, const py::dict& cells) {
             return std::make_shared<HouseTables>(house_parameters(house), cells_of(cells));
           }),
           py::arg("house") = py::dict(), py::arg("cells") = py::dict());

  const auto column = [](Column c) { return [c](const HouseRun& run) { return run.at(c); }; };
  const auto sum = [](CompensatedSum HouseRun::* field) {
    return [field](const HouseRun& run) { return (run.*field).value() / 3600.0; };
  };
  py::class_<HouseRun, std::shared_ptr<HouseRun>>(module, "HouseRun")
      .def(py::init([](std::shared_ptr<HouseTables> tables, double capacity_wh, double stored_wh,
                       const py::object& solar, const py::object& load, bool has_mains,
                       double step_s) {
             UnitParameters unit;
             unit.capacity_wh = positive("capacity_wh", capacity_wh);
             unit.stored_wh = within("stored_wh", stored_wh, 0.0, capacity_wh);
             unit.has_mains = has_mains;
             return std::make_shared<HouseRun>(std::move(tables), unit, profile("solar", solar),
                                               profile("load", load), positive("step_s", step_s));
           }),
           py::arg("tables"), py::kw_only(), py::arg("capacity_wh"), py::arg("stored_wh"),
           py::arg("solar"), py::arg("load"), py::arg("has_mains") = true,
           py::arg("step_s") = 60.0)
      .def(
          "set_converter",
          [](HouseRun& run, double grid_w, double loss_w, bool is_on) {
            run.set_converter(finite("grid_w", grid_w), finite("loss_w", loss_w), is_on);
          },
          py::arg("grid_w"), py::arg("loss_w"), py::arg("is_on"))
      .def(
          "advance", [](HouseRun& run, double to_s) { run.advance(finite("to_s", to_s)); },
          py::arg("to_s"))
      .def(
          "leaves_at",
          [](HouseRun& run, double low_wh, double high_wh, double until_s, double committed_wh,
             double committed_wh_per_s, double floor_wh, double ceiling_wh) {
            return run.leaves_at(
                {low_wh, high_wh, committed_wh, committed_wh_per_s, floor_wh, ceiling_wh},
                finite("until_s", until_s));
          },
          py::arg("low_wh"), py::arg("high_wh"), py::arg("until_s"), py::arg("committed_wh") = 0.0,
          py::arg("committed_wh_per_s") = 0.0, py::arg("floor_wh") = -kNever,
          py::arg("ceiling_wh") = kNever)
      .def_property_readonly("time_s", &HouseRun::time_s)
      .def_readonly("unserved_s", &HouseRun::unserved_s)
      .def_property_readonly("stored_wh", column(kStoredWh))
      .def_property_readonly("capacity_wh", column(kCapacityWh))
      .def_property_readonly("battery_v", column(kBatteryV))
      .def_property_readonly("solar_wh", column(kSolarWh))
      .def_property_readonly("curtailed_wh", column(kCurtailedWh))
      .def_property_readonly("load_wh", column(kLoadWh))
      .def_property_readonly("unserved_wh", column(kUnservedWh))
      .def_property_readonly("mains_wh", column(kMainsWh))
      .def_property_readonly("ac_loss_wh", column(kAcLossWh))
      .def_property_readonly("dc_loss_wh", column(kDcLossWh))
      .def_property_readonly("battery_loss_wh", column(kBatteryLossWh))
      .def_property_readonly("received_wh", sum(&HouseRun::received_ws))
      .def_property_readonly("sent_wh", sum(&HouseRun::sent_ws))
      .def_property_readonly("converter_on_wh", sum(&HouseRun::converter_on_ws))
      .def_property_readonly("converter_off_wh", sum(&HouseRun::converter_off_ws))
      .def_property_readonly("charged_wh", sum(&HouseRun::charged_ws))
      .def_property_readonly("discharged_wh", sum(&HouseRun::discharged_ws));
}

}  // namespace apis_control::border
