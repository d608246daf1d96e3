// The real-time loop for Python: orders in, snapshots out. The loop itself knows nothing of
// Python.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <chrono>
#include <thread>

#include "apis_control/control_loop.hpp"
#include "border.hpp"

namespace py = pybind11;

namespace apis_control::border {

namespace {

#define APIS_FIELD(Class, name) {#name, &Class::name}
const std::vector<std::pair<const char*, double ControlParameters::*>> kControlFields = {
    APIS_FIELD(ControlParameters, current_step_a),
    APIS_FIELD(ControlParameters, voltage_step_v),
    APIS_FIELD(ControlParameters, compensation_per_s),
    APIS_FIELD(ControlParameters, compensation_limit_a),
    APIS_FIELD(ControlParameters, voltage_gain_a_per_v),
    APIS_FIELD(ControlParameters, voltage_integral_a_per_v_s),
    APIS_FIELD(ControlParameters, droop_filter_s),
    APIS_FIELD(ControlParameters, measurement_limit_s)};
const std::vector<std::pair<const char*, double SimulatedBus::Parameters::*>> kBusFields = {
    APIS_FIELD(SimulatedBus::Parameters, capacitance_f),
    APIS_FIELD(SimulatedBus::Parameters, lag_s), APIS_FIELD(SimulatedBus::Parameters, bleed_ohm),
    APIS_FIELD(SimulatedBus::Parameters, start_v)};
#undef APIS_FIELD

ControlParameters control_parameters(const py::dict& values) {
  ControlParameters made;
  fill(made, values, kControlFields);
  positive("measurement_limit_s", made.measurement_limit_s);
  if (!(made.current_step_a > 0.0)) throw InvalidValue("current_step_a must be > 0");
  if (!(made.voltage_step_v > 0.0)) throw InvalidValue("voltage_step_v must be > 0");
  return made;
}

double optional(const char* name, const py::object& value, double low, double high) {
  return value.is_none() ? kNone : within(name, value.cast<double>(), low, high);
}

constexpr double kMost = 1e300;
constexpr double kLeast = 1e-300;

struct Checked {
  double rated_a;

  [[nodiscard]] Order mode(int mode, double hold_s, const py::object& current_a,
                           const py::object& voltage_v, double droop_ratio,
                           const py::object& limit_wh, double next_a) const {
    Order order;
    order.kind = OrderKind::kMode;
    order.mode = active_mode(mode);
    const bool is_reference = order.mode == Mode::kVoltageReference;
    if (!is_reference && current_a.is_none())
      throw InvalidValue("current_a is missing, a current source needs it");
    order.current_a = optional("current_a", current_a, is_reference ? kLeast : 0.0, rated_a);
    order.voltage_v = optional("voltage_v", voltage_v, kLeast, kMost);
    order.droop_ratio = within("droop_ratio", droop_ratio, 0.0, 1.0);
    order.energy_limit_wh = optional("energy_limit_wh", limit_wh, kLeast, kMost);
    order.next_current_a = within("next_current_a", next_a, 0.0, rated_a);
    order.hold_s = positive("hold_s", hold_s);
    return order;
  }
  [[nodiscard]] Order current(double current_a, const py::object& hold_s) const {
    Order order;
    order.kind = OrderKind::kCurrent;
    order.current_a = within("current_a", current_a, 0.0, rated_a);
    order.hold_s = optional("hold_s", hold_s, kLeast, kMost);
    return order;
  }
  [[nodiscard]] static Order voltage(const py::object& voltage_v, const py::object& droop_ratio,
                                     const py::object& hold_s) {
    Order order;
    order.kind = OrderKind::kVoltage;
    order.voltage_v = optional("voltage_v", voltage_v, kLeast, kMost);
    order.droop_ratio = optional("droop_ratio", droop_ratio, 0.0, 1.0);
    order.hold_s = optional("hold_s", hold_s, kLeast, kMost);
    return order;
  }
  [[nodiscard]] Order hold(double hold_s, const py::object& limit_wh, double next_a) const {
    Order order;
    order.hold_s = positive("hold_s", hold_s);
    order.energy_limit_wh = optional("energy_limit_wh", limit_wh, kLeast, kMost);
    order.next_current_a = within("next_current_a", next_a, 0.0, rated_a);
    return order;
  }
  [[nodiscard]] static Order wait() {
    Order order;
    order.kind = OrderKind::kWait;
    return order;
  }
};

const char* why_not(OrderResult result) {
  switch (result) {
    case OrderResult::kNotActive:
      return "the converter is in WAIT; only an active one obeys this";
    case OrderResult::kNotReference:
      return "the converter is no VOLTAGE_REFERENCE; only such a one obeys this";
    case OrderResult::kEnded:
      return "the converter is on its way to WAIT";
    default:
      return "";
  }
}

void must_be_obeyed(OrderResult result) {
  if (*why_not(result) != '\0') throw NotObeyed(why_not(result));
}

/// A loop with what its border needs to know. Waits for an order's tick without the GIL.
class Loop {
 public:
  Loop(std::shared_ptr<PowerStage> stage, const ConverterParameters& converter,
       const ControlParameters& control, const ControlLoop::Settings& settings)
      : check{converter.rated_current_a}, loop_(std::move(stage), converter, control, settings) {}
  ~Loop() {
    const py::gil_scoped_release free;
    loop_.end();
  }

  void order(const Order& order) {
    OrderResult result = OrderResult::kNone;
    bool is_taken = false;
    {
      const py::gil_scoped_release free;
      const std::uint64_t ticket = loop_.is_running() ? loop_.order(order) : 0;
      while (ticket != 0 && loop_.is_running()) {
        const Snapshot seen = loop_.snapshot();
        // Only the newest order's result is kept; one that others have overtaken was taken, and
        // the state tells.
        if (seen.ticket >= ticket) {
          is_taken = true;
          if (seen.ticket == ticket) result = seen.result;
          break;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    }
    if (!is_taken) throw NotObeyed("the loop has ended");
    must_be_obeyed(result);
  }

  ControlLoop& operator*() { return loop_; }
  ControlLoop* operator->() { return &loop_; }

  Checked check;

 private:
  ControlLoop loop_;
};

}  // namespace

void add_loop(py::module_& module) {
  py::class_<PowerStage, std::shared_ptr<PowerStage>>(module, "PowerStage");
  py::class_<MailboxStage, PowerStage, std::shared_ptr<MailboxStage>>(module, "MailboxStage")
      .def(py::init([](double fresh_s) {
             return std::make_shared<MailboxStage>(positive("fresh_s", fresh_s));
           }),
           py::arg("fresh_s"))
      .def(
          "post",
          [](MailboxStage& stage, double bus_v, double current_a, const py::object& battery_w,
             const py::object& temp_degc) {
            stage.post({bus_v, current_a, or_nan(battery_w), or_nan(temp_degc)},
                       ControlLoop::now_s());
          },
          py::arg("bus_v"), py::arg("current_a"), py::arg("battery_w") = py::none(),
          py::arg("temp_degc") = py::none())
      .def("fetch", [](const MailboxStage& stage) {
        const Actuation told = stage.fetch();
        return py::make_tuple(told.is_on, told.current_a);
      });

  const auto checked = [](const SimulatedBus& bus, std::size_t index) {
    if (index >= bus.size())
      throw py::index_error("there are " + std::to_string(bus.size()) + " stages");
    return index;
  };
  py::class_<SimulatedBus>(module, "SimulatedBus")
      .def(py::init([](std::size_t stages, const py::kwargs& values) {
             SimulatedBus::Parameters parameters;
             fill(parameters, values, kBusFields);
             positive("capacitance_f", parameters.capacitance_f);
             positive("lag_s", parameters.lag_s);
             positive("bleed_ohm", parameters.bleed_ohm);
             return std::make_unique<SimulatedBus>(stages, parameters);
           }),
           py::arg("stages"))
      .def("stage", [checked](const SimulatedBus& bus,
                              std::size_t i) { return bus.stage(checked(bus, i)); })
      .def_property_readonly("voltage_v", &SimulatedBus::voltage_v)
      .def("current_a", [checked](const SimulatedBus& bus,
                                  std::size_t i) { return bus.current_a(checked(bus, i)); })
      .def("set_meter_offset_a",
           [checked](SimulatedBus& bus, std::size_t i, double a) {
             bus.set_meter_offset_a(checked(bus, i), a);
           })
      .def("set_stage_offset_a",
           [checked](SimulatedBus& bus, std::size_t i, double a) {
             bus.set_stage_offset_a(checked(bus, i), a);
           })
      .def("set_temp_degc", [checked](SimulatedBus& bus, std::size_t i, double degc) {
        bus.set_temp_degc(checked(bus, i), degc);
      });

  py::class_<Snapshot>(module, "Snapshot")
      .def_readonly("time_s", &Snapshot::time_s)
      .def_property_readonly("mode", [](const Snapshot& s) { return number(s.mode); })
      .def_property_readonly("alarm", [](const Snapshot& s) { return number(s.alarm); })
      .def_property_readonly("stop_cause", [](const Snapshot& s) { return number(s.stop_cause); })
      .def_property_readonly(
          "stop_detail",
          [](const Snapshot& s) { return stop_text(s.stop_reason, s.stop_value, s.stop_limit); })
      .def_readonly("is_stopping", &Snapshot::is_stopping)
      .def_readonly("bus_v", &Snapshot::bus_v)
      .def_readonly("current_a", &Snapshot::current_a)
      .def_readonly("ordered_a", &Snapshot::ordered_a)
      .def_readonly("trim_a", &Snapshot::trim_a)
      .def_readonly("temp_degc", &Snapshot::temp_degc)
      .def_readonly("charged_wh", &Snapshot::charged_wh)
      .def_readonly("discharged_wh", &Snapshot::discharged_wh)
      .def_readonly("battery_charged_wh", &Snapshot::battery_charged_wh)
      .def_readonly("battery_discharged_wh", &Snapshot::battery_discharged_wh)
      .def_readonly("moved_wh", &Snapshot::moved_wh)
      .def_readonly("voltage_setpoint_v", &Snapshot::voltage_setpoint_v)
      .def_readonly("current_setpoint_a", &Snapshot::current_setpoint_a)
      .def_readonly("droop_ratio", &Snapshot::droop_ratio)
      .def_property_readonly("energy_limit_wh",
                             [](const Snapshot& s) { return or_none(s.energy_limit_wh); })
      .def_readonly("hold_remaining_s", &Snapshot::hold_remaining_s)
      .def_readonly("waiting_since_s", &Snapshot::waiting_since_s)
      .def_readonly("ticks", &Snapshot::ticks);

  py::class_<Timing>(module, "Timing")
      .def_readonly("ticks", &Timing::ticks)
      .def_readonly("misses", &Timing::misses)
      .def_readonly("jitter_p50_us", &Timing::jitter_p50_us)
      .def_readonly("jitter_p99_us", &Timing::jitter_p99_us)
      .def_readonly("jitter_p999_us", &Timing::jitter_p999_us)
      .def_readonly("jitter_max_us", &Timing::jitter_max_us)
      .def_readonly("is_realtime", &Timing::is_realtime);

  const auto none = py::none();
  py::class_<Loop>(module, "ControlLoop")
      .def(py::init([](std::shared_ptr<PowerStage> stage, const py::dict& converter,
                       const py::dict& control, double rate_hz, int priority) {
             if (priority < 0 || priority > 99)
               throw InvalidValue("priority is " + std::to_string(priority) +
                                  ", it must be from 0 to 99");
             ControlLoop::Settings settings{within("rate_hz", rate_hz, 1.0, 10'000.0), priority};
             return std::make_unique<Loop>(std::move(stage), converter_parameters(converter),
                                           control_parameters(control), settings);
           }),
           py::arg("stage"), py::kw_only(), py::arg("converter") = py::dict(),
           py::arg("control") = py::dict(), py::arg("rate_hz") = 1000.0, py::arg("priority") = 0)
      .def(
          "set_mode",
          [](Loop& loop, int mode, double hold_s, const py::object& current_a,
             const py::object& voltage_v, double droop_ratio, const py::object& limit_wh,
             double next_a) {
            loop.order(loop.check.mode(mode, hold_s, current_a, voltage_v, droop_ratio, limit_wh,
                                       next_a));
          },
          py::arg("mode"), py::kw_only(), py::arg("hold_s"), py::arg("current_a") = none,
          py::arg("voltage_v") = none, py::arg("droop_ratio") = 0.0,
          py::arg("energy_limit_wh") = none, py::arg("next_current_a") = 0.0)
      .def(
          "set_current",
          [](Loop& loop, double current_a, const py::object& hold_s) {
            loop.order(loop.check.current(current_a, hold_s));
          },
          py::arg("current_a"), py::kw_only(), py::arg("hold_s") = none)
      .def(
          "set_voltage",
          [](Loop& loop, const py::object& voltage_v, const py::object& droop_ratio,
             const py::object& hold_s) {
            loop.order(Checked::voltage(voltage_v, droop_ratio, hold_s));
          },
          py::arg("voltage_v") = none, py::kw_only(), py::arg("droop_ratio") = none,
          py::arg("hold_s") = none)
      .def(
          "hold",
          [](Loop& loop, double hold_s, const py::object& limit_wh, double next_a) {
            loop.order(loop.check.hold(hold_s, limit_wh, next_a));
          },
          py::arg("hold_s"), py::kw_only(), py::arg("energy_limit_wh") = none,
          py::arg("next_current_a") = 0.0)
      .def("wait", [](Loop& loop) { loop.order(Checked::wait()); })
      .def("snapshot", [](Loop& loop) { return loop->snapshot(); })
      .def("timing", [](Loop& loop) { return loop->timing(); })
      .def("reset_timing", [](Loop& loop) { loop->reset_timing(); })
      .def(
          "end", [](Loop& loop) { loop->end(); }, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("is_running", [](Loop& loop) { return loop->is_running(); })
      .def(
          "__enter__", [](Loop& loop) -> Loop& { return loop; },
          py::return_value_policy::reference)
      .def("__exit__",
           [](Loop& loop, const py::args&) {
             const py::gil_scoped_release free;
             loop->end();
           })
      .def_static("now_s", &ControlLoop::now_s);

  py::class_<Controller>(module, "Controller")
      .def(py::init([](const py::dict& converter, const py::dict& control) {
             return Controller(converter_parameters(converter), control_parameters(control));
           }),
           py::kw_only(), py::arg("converter") = py::dict(), py::arg("control") = py::dict())
      .def(
          "set_mode",
          [](Controller& c, int mode, double now_s, double hold_s, const py::object& current_a,
             const py::object& voltage_v, double droop_ratio, const py::object& limit_wh,
             double next_a) {
            const Checked check{c.converter.parameters.rated_current_a};
            must_be_obeyed(c.obey(
                check.mode(mode, hold_s, current_a, voltage_v, droop_ratio, limit_wh, next_a),
                now_s));
          },
          py::arg("mode"), py::arg("now_s"), py::kw_only(), py::arg("hold_s"),
          py::arg("current_a") = none, py::arg("voltage_v") = none, py::arg("droop_ratio") = 0.0,
          py::arg("energy_limit_wh") = none, py::arg("next_current_a") = 0.0)
      .def(
          "set_current",
          [](Controller& c, double current_a, double now_s, const py::object& hold_s) {
            const Checked check{c.converter.parameters.rated_current_a};
            must_be_obeyed(c.obey(check.current(current_a, hold_s), now_s));
          },
          py::arg("current_a"), py::arg("now_s"), py::kw_only(), py::arg("hold_s") = none)
      .def(
          "set_voltage",
          [](Controller& c, const py::object& voltage_v, double now_s,
             const py::object& droop_ratio, const py::object& hold_s) {
            must_be_obeyed(c.obey(Checked::voltage(voltage_v, droop_ratio, hold_s), now_s));
          },
          py::arg("voltage_v"), py::arg("now_s"), py::kw_only(), py::arg("droop_ratio") = none,
          py::arg("hold_s") = none)
      .def(
          "hold",
          [](Controller& c, double hold_s, double now_s, const py::object& limit_wh,
             double next_a) {
            const Checked check{c.converter.parameters.rated_current_a};
            must_be_obeyed(c.obey(check.hold(hold_s, limit_wh, next_a), now_s));
          },
          py::arg("hold_s"), py::arg("now_s"), py::kw_only(), py::arg("energy_limit_wh") = none,
          py::arg("next_current_a") = 0.0)
      .def(
          "wait", [](Controller& c, double now_s) { c.obey(Checked::wait(), now_s); },
          py::arg("now_s"))
      .def(
          "tick",
          [](Controller& c, double bus_v, double current_a, double dt_s, double now_s,
             const py::object& battery_w, const py::object& temp_degc) {
            const Actuation out = c.tick({bus_v, current_a, or_nan(battery_w), or_nan(temp_degc)},
                                         time_step(dt_s), finite("now_s", now_s));
            return py::make_tuple(out.is_on, out.current_a);
          },
          py::arg("bus_v"), py::arg("current_a"), py::arg("dt_s"), py::arg("now_s"), py::kw_only(),
          py::arg("battery_w") = none, py::arg("temp_degc") = none)
      .def(
          "run",
          [](Controller& c,
             const py::array_t<double, py::array::c_style | py::array::forcecast>& bus_v,
             const py::array_t<double, py::array::c_style | py::array::forcecast>& current_a,
             double dt_s, double now_s) {
            if (bus_v.ndim() != 1 || current_a.ndim() != 1 || bus_v.size() != current_a.size()) {
              throw InvalidValue(
                  "bus_v and current_a must have one dimension and the same length");
            }
            time_step(dt_s);
            finite("now_s", now_s);
            const auto count = static_cast<std::size_t>(bus_v.size());
            py::array_t<double> out(bus_v.size());
            double* const ordered_a = out.mutable_data();
            const double *const volts = bus_v.data(), *const amps = current_a.data();
            const py::gil_scoped_release free;
            for (std::size_t i = 0; i < count; ++i) {
              const double at_s = now_s + static_cast<double>(i + 1) * dt_s;
              ordered_a[i] = c.tick({volts[i], amps[i], kNone, kNone}, dt_s, at_s).current_a;
            }
            return out;
          },
          py::arg("bus_v"), py::arg("current_a"), py::arg("dt_s"), py::arg("now_s"))
      .def_property_readonly(
          "converter", [](Controller& c) { return std::make_shared<Converter>(c.converter); })
      .def_property_readonly("trim_a", &Controller::trim_a)
      .def_property_readonly("ramp_a", &Controller::ramp_a);
}

}  // namespace apis_control::border
