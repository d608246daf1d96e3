// The plant for Python: one call a step, state as arrays that are the plant's own memory.
#include "apis_control/plant.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "border.hpp"

namespace py = pybind11;

namespace apis_control::border {

namespace {

template <typename Class>
using Field = double Class::*;

Unit& attached(Unit& unit) {
  if (!unit.is_attached()) throw Detached("the unit was taken out of its plant");
  return unit;
}

StopCause stop_cause(int cause) {
  if (cause < 0 || cause > number(StopCause::kTrip)) {
    throw InvalidValue("cause is " + std::to_string(cause) + ", it must be a StopCause, 0 to 3");
  }
  return static_cast<StopCause>(cause);
}

#define APIS_FIELD(Class, name) {#name, &Class::name}
const std::vector<std::pair<const char*, Field<ConverterParameters>>> kConverterFields = {
    APIS_FIELD(ConverterParameters, rated_current_a),
    APIS_FIELD(ConverterParameters, rated_power_w),
    APIS_FIELD(ConverterParameters, current_slew_a_per_s),
    APIS_FIELD(ConverterParameters, voltage_up_v_per_s),
    APIS_FIELD(ConverterParameters, voltage_down_v_per_s),
    APIS_FIELD(ConverterParameters, waiting_w),
    APIS_FIELD(ConverterParameters, constant_w),
    APIS_FIELD(ConverterParameters, linear),
    APIS_FIELD(ConverterParameters, quadratic_per_w),
    APIS_FIELD(ConverterParameters, over_current_trip_a),
    APIS_FIELD(ConverterParameters, over_voltage_trip_v),
    APIS_FIELD(ConverterParameters, under_voltage_trip_v),
    APIS_FIELD(ConverterParameters, over_temp_trip_degc),
    APIS_FIELD(ConverterParameters, under_temp_trip_degc),
    APIS_FIELD(ConverterParameters, saturation_trip_s),
    APIS_FIELD(ConverterParameters, dead_bus_v)};
const std::vector<std::pair<const char*, Field<HouseParameters>>> kHouseFields = {
    APIS_FIELD(HouseParameters, system_loss_w),
    APIS_FIELD(HouseParameters, inverter_loss_w),
    APIS_FIELD(HouseParameters, inverter_loss_ratio),
    APIS_FIELD(HouseParameters, transformer_loss_w),
    APIS_FIELD(HouseParameters, bypass_loss_w),
    APIS_FIELD(HouseParameters, bypass_loss_ratio),
    APIS_FIELD(HouseParameters, ac_charge_w),
    APIS_FIELD(HouseParameters, ac_charge_loss_w),
    APIS_FIELD(HouseParameters, bypass_on_ratio),
    APIS_FIELD(HouseParameters, bypass_off_ratio),
    APIS_FIELD(HouseParameters, ac_charge_on_ratio),
    APIS_FIELD(HouseParameters, ac_charge_off_ratio),
    APIS_FIELD(HouseParameters, dark_on_ratio),
    APIS_FIELD(HouseParameters, dark_off_ratio),
    APIS_FIELD(HouseParameters, reference_capacity_wh),
    APIS_FIELD(HouseParameters, resistance_ratio),
    APIS_FIELD(HouseParameters, extra_resistance_ohm),
    APIS_FIELD(HouseParameters, hysteresis_v),
    APIS_FIELD(HouseParameters, coulombic_efficiency),
    APIS_FIELD(HouseParameters, self_discharge_per_s),
    APIS_FIELD(HouseParameters, charge_limit_v),
    APIS_FIELD(HouseParameters, discharge_limit_v),
    APIS_FIELD(HouseParameters, empty_margin_v),
    APIS_FIELD(HouseParameters, charge_c_rate),
    APIS_FIELD(HouseParameters, discharge_c_rate),
    APIS_FIELD(HouseParameters, charge_least_degc),
    APIS_FIELD(HouseParameters, pack_heat_j_per_k),
    APIS_FIELD(HouseParameters, pack_cooling_w_per_k),
    APIS_FIELD(HouseParameters, ambient_degc),
    APIS_FIELD(HouseParameters, converter_heat_j_per_k),
    APIS_FIELD(HouseParameters, converter_k_per_w)};
const std::vector<std::pair<const char*, Field<BusParameters>>> kBusFields = {
    APIS_FIELD(BusParameters, capacitance_per_unit_f),
    APIS_FIELD(BusParameters, decay_time_constant_s), APIS_FIELD(BusParameters, idle_step_s)};
#undef APIS_FIELD

struct NamedColumn {
  const char* name;
  Column column;
  bool is_input;  // may be written
};
constexpr NamedColumn kNamed[] = {
    {"stored_wh", kStoredWh, true},
    {"capacity_wh", kCapacityWh, false},
    {"has_mains", kMains, true},
    {"is_bypass", kBypass, true},
    {"is_ac_charging", kAcCharging, true},
    {"is_dark", kDark, true},
    {"pack_degc", kPackDegc, true},
    {"converter_degc", kConverterDegc, true},
    {"solar_w", kSolarW, false},
    {"solar_available_w", kSolarAvailableW, false},
    {"load_w", kLoadW, false},
    {"unserved_w", kUnservedW, false},
    {"mains_w", kMainsW, false},
    {"ac_loss_w", kAcLossW, false},
    {"dc_loss_w", kDcLossW, false},
    {"battery_w", kBatteryW, false},
    {"battery_loss_w", kBatteryLossW, false},
    {"overcharge_w", kOverchargeW, false},
    {"battery_v", kBatteryV, false},
    {"battery_a", kBatteryA, false},
    {"solar_wh", kSolarWh, false},
    {"curtailed_wh", kCurtailedWh, false},
    {"load_wh", kLoadWh, false},
    {"unserved_wh", kUnservedWh, false},
    {"mains_wh", kMainsWh, false},
    {"ac_loss_wh", kAcLossWh, false},
    {"dc_loss_wh", kDcLossWh, false},
    {"battery_loss_wh", kBatteryLossWh, false},
};

std::size_t checked_index(const Plant& plant, std::size_t index) {
  if (index >= plant.size())
    throw py::index_error("there are " + std::to_string(plant.size()) + " units");
  return index;
}

/// A table over the state of charge: two points or more, the first row ascending.
void check_table(const std::string& name, const std::vector<double>& soc_ratio,
                 const std::vector<double>& values) {
  bool is_right = soc_ratio.size() >= 2 && soc_ratio.size() == values.size();
  for (std::size_t k = 0; is_right && k < values.size(); ++k) {
    is_right = soc_ratio[k] >= 0.0 && soc_ratio[k] <= 1.0 && values[k] > 0.0 &&
               std::isfinite(values[k]) && (k == 0 || soc_ratio[k] > soc_ratio[k - 1]);
  }
  if (!is_right)
    throw InvalidValue(name +
                       " must be numbers > 0, one for each of two or more ascending states "
                       "of charge from 0 to 1");
}

std::vector<Line> lines_of(
    std::size_t nodes, const std::vector<std::tuple<std::size_t, std::size_t, double>>& given) {
  std::vector<Line> lines;
  for (const auto& [a, b, ohm] : given) {
    if (a >= nodes || b >= nodes || a == b) {
      throw InvalidValue("line " + std::to_string(a) + "-" + std::to_string(b) +
                         " must join two of the nodes 0 to " + std::to_string(nodes - 1));
    }
    lines.push_back({a, b, positive("resistance_ohm", ohm), false});
  }
  return lines;
}

}  // namespace

Profile profile(const char* name, const py::object& given) {
  // (values, step_s, origin_s), or one number
  Profile made;
  py::array_t<float, py::array::c_style | py::array::forcecast> values;
  if (py::isinstance<py::tuple>(given)) {
    const auto parts = given.cast<py::tuple>();
    if (parts.size() != 3)
      throw InvalidValue(std::string(name) + " must be (values, step_s, origin_s)");
    values = parts[0].cast<decltype(values)>();
    made.step_s = positive("step_s", parts[1].cast<double>());
    made.origin_s = finite("origin_s", parts[2].cast<double>());
  } else {
    values = decltype(values)(1);
    *values.mutable_data() = given.cast<float>();
  }
  if (values.ndim() != 1 || values.size() == 0) {
    throw InvalidValue(std::string(name) + " must have one dimension and at least one value");
  }
  made.count = static_cast<std::size_t>(values.size());
  for (std::size_t i = 0; i < made.count; ++i) finite(name, static_cast<double>(values.data()[i]));
  // The plant reads the array's own memory, and holds it.
  auto* const owner = new py::object(values);
  made.values = std::shared_ptr<const float>(values.data(), [owner](const float*) {
    const py::gil_scoped_acquire gil;
    delete owner;
  });
  return made;
}

BatteryCells cells_of(const py::dict& values) {
  BatteryCells cells;
  const std::vector<std::pair<std::string, std::vector<double>*>> rows = {
      {"soc_ratio", &cells.soc_ratio},
      {"open_circuit_v", &cells.open_circuit_v},
      {"resistance_soc_ratio", &cells.resistance_soc_ratio},
      {"charge_10degc_mohm", &cells.resistance_mohm[0][0]},
      {"charge_25degc_mohm", &cells.resistance_mohm[0][1]},
      {"charge_40degc_mohm", &cells.resistance_mohm[0][2]},
      {"discharge_10degc_mohm", &cells.resistance_mohm[1][0]},
      {"discharge_25degc_mohm", &cells.resistance_mohm[1][1]},
      {"discharge_40degc_mohm", &cells.resistance_mohm[1][2]}};
  for (const auto& [key, value] : values) {
    const auto name = key.cast<std::string>();
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&name](const auto& known) { return known.first == name; });
    if (row == rows.end()) throw py::type_error("unknown table " + name);
    *row->second = value.cast<std::vector<double>>();
  }
  check_table("open_circuit_v", cells.soc_ratio, cells.open_circuit_v);
  if (cells.soc_ratio.front() != 0.0 || cells.soc_ratio.back() != 1.0)
    throw InvalidValue("soc_ratio must begin with 0 and end with 1");
  for (std::size_t k = 3; k < rows.size(); ++k)
    check_table(rows[k].first, cells.resistance_soc_ratio, *rows[k].second);
  return cells;
}

HouseParameters house_parameters(const py::dict& values) {
  HouseParameters made;
  fill(made, values, kHouseFields);
  within("coulombic_efficiency", made.coulombic_efficiency, 1e-3, 1.0);
  return made;
}

ConverterParameters converter_parameters(const py::dict& values) {
  ConverterParameters made;
  fill(made, values, kConverterFields);
  positive("current_slew_a_per_s", made.current_slew_a_per_s);
  positive("voltage_up_v_per_s", made.voltage_up_v_per_s);
  positive("voltage_down_v_per_s", made.voltage_down_v_per_s);
  positive("rated_current_a", made.rated_current_a);
  positive("rated_power_w", made.rated_power_w);
  return made;
}

void add_plant(py::module_& module) {
  py::class_<Converter, std::shared_ptr<Converter>> converter(module, "Converter",
                                                              py::dynamic_attr());
  converter
      .def(py::init([](const py::kwargs& values) {
        return std::make_shared<Converter>(converter_parameters(values));
      }))
      .def_property_readonly("mode", [](const Converter& c) { return number(c.mode); })
      .def_property(
          "alarm", [](const Converter& c) { return number(c.alarm); },
          [](Converter& c, int alarm) {
            if (alarm < 0 || alarm > number(Alarm::kHeavy))
              throw InvalidValue("alarm must be an Alarm, 0 to 3");
            c.alarm = static_cast<Alarm>(alarm);
          })
      .def_property_readonly("stop_cause", [](const Converter& c) { return number(c.stop_cause); })
      .def_property_readonly("stop_detail", &Converter::stop_detail)
      .def_readwrite("current_a", &Converter::current_a)
      .def_readwrite("voltage_setpoint_v", &Converter::voltage_setpoint_v)
      .def_readwrite("current_setpoint_a", &Converter::current_setpoint_a)
      .def_readwrite("droop_ratio", &Converter::droop_ratio)
      .def_readonly("regulated_v", &Converter::regulated_v)
      .def_readonly("has_held", &Converter::has_held)
      .def_readonly("saturated_s", &Converter::saturated_s)
      .def_property(
          "energy_limit_wh", [](const Converter& c) { return or_none(c.energy_limit_wh); },
          [](Converter& c, const py::object& wh) { c.energy_limit_wh = or_nan(wh); })
      .def_readwrite("next_current_a", &Converter::next_current_a)
      .def_readwrite("current_offset_a", &Converter::current_offset_a)
      .def_readwrite("is_stuck", &Converter::is_stuck)
      .def_readwrite("may_charge", &Converter::may_charge)
      .def_readwrite("may_discharge", &Converter::may_discharge)
      .def_readonly("temp_degc", &Converter::temp_degc)
      .def_property_readonly("is_active", &Converter::is_active)
      .def_property_readonly("is_stopping", &Converter::is_stopping)
      .def_property_readonly("is_reference", &Converter::is_reference)
      .def_property_readonly("charged_wh", &Converter::charged_wh)
      .def_property_readonly("discharged_wh", &Converter::discharged_wh)
      .def_property_readonly("moved_wh", &Converter::moved_wh)
      .def_property_readonly("droop_ohm", &Converter::droop_ohm)
      .def("loss_w", &Converter::loss_w, py::arg("grid_w"))
      .def(
          "start",
          [](Converter& c, int mode, double bus_v, const py::object& limit_wh) {
            c.start(active_mode(mode), finite("bus_v", bus_v), or_nan(limit_wh));
          },
          py::arg("mode"), py::kw_only(), py::arg("bus_v"), py::arg("energy_limit_wh"))
      .def("acknowledge", &Converter::acknowledge)
      .def(
          "stop",
          [](Converter& c, int cause, const std::string& detail, bool is_bus_held) {
            c.stop(stop_cause(cause), is_bus_held, detail);
          },
          py::arg("cause"), py::arg("detail"), py::kw_only(), py::arg("is_bus_held"))
      .def(
          "trip", [](Converter& c, const std::string& detail) { c.trip(detail); },
          py::arg("detail"))
      .def("finish", &Converter::finish)
      .def(
          "count",
          [](Converter& c, double grid_w, double dt_s) {
            return c.count(finite("grid_w", grid_w), time_step(dt_s));
          },
          py::arg("grid_w"), py::arg("dt_s"))
      .def("time_to_stop", &Converter::time_to_stop, py::arg("bus_v"));

  py::class_<Unit, std::shared_ptr<Unit>> unit(module, "PlantUnit");
  unit.def_readonly("converter", &Unit::converter)
      .def_property_readonly("index", [](Unit& u) { return attached(u).index(); })
      .def_property_readonly("is_attached", &Unit::is_attached)
      .def_readwrite("voltage_offset_v", &Unit::voltage_offset_v)
      .def_property_readonly("bus_v", [](Unit& u) { return attached(u).bus_v(); })
      .def_property_readonly("open_circuit_v",
                             [](Unit& u) { return attached(u).open_circuit_v(); })
      .def_property_readonly("soc_ratio",
                             [](Unit& u) { return attached(u).at(kStoredWh) / u.at(kCapacityWh); })
      .def_property_readonly("is_empty", [](Unit& u) { return attached(u).is_empty(); })
      .def_property_readonly("is_full", [](Unit& u) { return attached(u).is_full(); })
      .def_property_readonly("battery_charged_wh",
                             [](Unit& u) { return attached(u).battery_charged_wh(); })
      .def_property_readonly("battery_discharged_wh",
                             [](Unit& u) { return attached(u).battery_discharged_wh(); });
  for (const NamedColumn& named : kNamed) {
    const Column column = named.column;
    const auto get = [column](Unit& u) { return attached(u).at(column); };
    if (column == kStoredWh) {
      unit.def_property(named.name, get, [](Unit& u, double wh) {
        attached(u).at(kStoredWh) = within("stored_wh", wh, 0.0, u.at(kCapacityWh));
      });
    } else if (named.is_input) {
      const char* name = named.name;
      unit.def_property(named.name, get, [column, name](Unit& u, double value) {
        attached(u).at(column) = finite(name, value);
      });
    } else {
      unit.def_property_readonly(named.name, get);
    }
  }

  py::class_<Plant, std::shared_ptr<Plant>>(module, "Plant")
      .def(py::init([](const py::dict& bus, const py::dict& house, const py::dict& cells) {
             BusParameters bus_parameters;
             fill(bus_parameters, bus, kBusFields);
             positive("capacitance_per_unit_f", bus_parameters.capacitance_per_unit_f);
             positive("decay_time_constant_s", bus_parameters.decay_time_constant_s);
             positive("idle_step_s", bus_parameters.idle_step_s);
             return std::make_shared<Plant>(bus_parameters, house_parameters(house),
                                            cells_of(cells));
           }),
           py::arg("bus") = py::dict(), py::arg("house") = py::dict(),
           py::arg("cells") = py::dict())
      .def(
          "add",
          [](Plant& plant, std::shared_ptr<Converter> c, double capacity_wh, double stored_wh,
             const py::object& solar, const py::object& load, bool has_mains,
             double voltage_offset_v) {
            UnitParameters parameters;
            parameters.capacity_wh = positive("capacity_wh", capacity_wh);
            parameters.stored_wh = within("stored_wh", stored_wh, 0.0, capacity_wh);
            parameters.has_mains = has_mains;
            parameters.voltage_offset_v = finite("voltage_offset_v", voltage_offset_v);
            return plant.add(std::move(c), parameters, profile("solar", solar),
                             profile("load", load));
          },
          py::arg("converter"), py::kw_only(), py::arg("capacity_wh"), py::arg("stored_wh"),
          py::arg("solar"), py::arg("load"), py::arg("has_mains") = true,
          py::arg("voltage_offset_v") = 0.0)
      .def(
          "remove",
          [](Plant& plant, std::size_t index) { plant.remove(checked_index(plant, index)); },
          py::arg("index"))
      .def(
          "set_profiles",
          [](Plant& plant, std::size_t index, const py::object& solar, const py::object& load) {
            plant.set_profiles(checked_index(plant, index), profile("solar", solar),
                               profile("load", load));
          },
          py::arg("index"), py::arg("solar"), py::arg("load"))
      .def(
          "set_lines",
          [](Plant& plant,
             const std::vector<std::tuple<std::size_t, std::size_t, double>>& lines) {
            plant.set_lines(lines_of(plant.size(), lines));
          },
          py::arg("lines"))
      .def(
          "set_line_open",
          [](Plant& plant, std::size_t line, bool is_open) {
            if (line >= plant.network().lines().size()) {
              throw py::index_error("there are " + std::to_string(plant.network().lines().size()) +
                                    " lines");
            }
            plant.set_line_open(line, is_open);
          },
          py::arg("line"), py::arg("is_open"))
      .def(
          "step", [](Plant& plant, double dt_s) { plant.step(time_step(dt_s)); }, py::arg("dt_s"),
          py::call_guard<py::gil_scoped_release>())
      .def(
          "column",
          [](const std::shared_ptr<Plant>& plant, const std::string& name) {
            for (const NamedColumn& named : kNamed) {
              if (name != named.name) continue;
              auto array = py::array_t<double>(static_cast<py::ssize_t>(plant->size()),
                                               plant->column(named.column), py::cast(plant));
              if (!named.is_input) array.attr("flags").attr("writeable") = false;
              return array;
            }
            throw InvalidValue("there is no column " + name);
          },
          py::arg("name"))
      .def_property_readonly("transported_power_w",
                             [](const Plant& plant) {
                               double fed_w = 0.0;
                               for (const auto& u : plant.units()) {
                                 if (u->converter->current_a < 0.0)
                                   fed_w -= u->converter->current_a * u->bus_v();
                               }
                               return fed_w;
                             })
      .def("bus_v", [](const Plant& plant,
                       std::size_t index) { return plant.bus_v(checked_index(plant, index)); })
      .def("is_held_without",
           [](const Plant& plant, std::size_t index) {
             return plant.is_held_without(checked_index(plant, index));
           })
      .def("has_other_reference",
           [](const Plant& plant, std::size_t index) {
             return plant.has_other_reference(checked_index(plant, index));
           })
      .def("line_current_a",
           [](const Plant& plant, std::size_t line) { return plant.line_current_a(line); })
      .def_property_readonly("units", [](const Plant& plant) { return plant.units(); })
      .def_property("time_s", &Plant::time_s, &Plant::set_time_s)
      .def_property("voltage_v", &Plant::voltage_v, &Plant::set_voltage_v)
      .def_property_readonly("bled_wh", &Plant::bled_wh)
      .def_property_readonly("line_loss_w", &Plant::line_loss_w)
      .def_property_readonly("line_loss_wh", &Plant::line_loss_wh)
      .def_property_readonly("bus_stored_wh", &Plant::bus_stored_wh)
      .def_property_readonly("bytes_per_unit", &Plant::bytes_per_unit);

  py::class_<BusNetwork>(module, "BusNetwork")
      .def(py::init([](std::size_t nodes,
                       const std::vector<std::tuple<std::size_t, std::size_t, double>>& lines) {
             return BusNetwork(nodes, lines_of(nodes, lines));
           }),
           py::arg("nodes"), py::arg("lines"))
      .def(
          "set_open",
          [](BusNetwork& network, std::size_t line, bool is_open) {
            if (line >= network.lines().size()) throw py::index_error("no such line");
            network.set_open(line, is_open);
          },
          py::arg("line"), py::arg("is_open"))
      .def_property_readonly("islands", &BusNetwork::islands)
      .def(
          "solve",
          [](const BusNetwork& network, const std::vector<double>& currents_a,
             const std::vector<std::tuple<std::size_t, double, double, double>>& references) {
            if (currents_a.size() != network.nodes()) {
              throw InvalidValue(
                  "currents_a has " + std::to_string(currents_a.size()) +
                  " values, it must have one per node: " + std::to_string(network.nodes()));
            }
            for (const double a : currents_a) finite("currents_a", a);
            std::vector<Reference> made;
            for (const auto& [node, source_v, ohm, limit_a] : references) {
              if (node >= network.nodes())
                throw InvalidValue("a reference is on node " + std::to_string(node));
              made.push_back({node, finite("source_v", source_v),
                              within("resistance_ohm", ohm, 0.0, 1e9),
                              within("limit_a", limit_a, 1e-12, 1e300), 0.0, false});
            }
            const BusNetwork::Solution solution = network.solve(currents_a, std::move(made));
            std::vector<double> reference_a;
            std::vector<bool> is_saturated;
            for (const Reference& r : solution.references) {
              reference_a.push_back(r.current_a);
              is_saturated.push_back(r.is_saturated);
            }
            return py::make_tuple(
                py::array_t<double>(static_cast<py::ssize_t>(solution.node_v.size()),
                                    solution.node_v.data()),
                py::array_t<double>(static_cast<py::ssize_t>(solution.line_current_a.size()),
                                    solution.line_current_a.data()),
                reference_a, is_saturated, solution.loss_w, solution.is_held);
          },
          py::arg("currents_a"), py::arg("references"));
}

}  // namespace apis_control::border
