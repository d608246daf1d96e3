#include "apis_control/plant.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace apis_control {

namespace {

constexpr double kShortestStepS = 1e-9;  // nearer to an energy limit than that is on it
constexpr double kEmptyWh = 2.0;  // what a converter at full power could draw in two idle steps
constexpr double kDeadV = 1e-3;   // an abandoned bus is at nought below
constexpr std::size_t kMostReferences = 16;

std::size_t rounded_up(std::size_t value, std::size_t to) { return (value + to - 1) / to * to; }

}  // namespace

// --- units
// ------------------------------------------------------------------------------------------------------------

double& Unit::at(Column column) const noexcept { return plant_->columns_.column(column)[index_]; }

double Unit::bus_v() const noexcept { return plant_->bus_v(index_); }

double Unit::open_circuit_v() const noexcept {
  return plant_->tables_.ocv(at(kStoredWh) / at(kCapacityWh));
}

bool Unit::is_empty() const noexcept {
  return at(kStoredWh) <= std::max(plant_->tables_.empty_ratio * at(kCapacityWh), kEmptyWh);
}

double Unit::battery_discharged_wh() const noexcept {
  return converter->battery_discharged_wh() +
         converter->parameters.waiting_w * at(kIdleS) / 3600.0;
}

Plant::Plant(const BusParameters& bus_parameters, const HouseParameters& house,
             const BatteryCells& cells)
    : bus(bus_parameters), tables_(house, cells), network_(0, {}) {
  resize(0);
  reset_bus();
}

Plant::~Plant() {
  for (const auto& unit : units_) unit->plant_ = nullptr;
}

void Plant::resize(std::size_t count) {
  // Columns an odd number of cache lines apart spread over all sets of a cache, whatever the
  // number of units.
  std::size_t stride = rounded_up(std::max(count, kLanes), kLanes);
  if (stride / kLanes % 2 == 0) stride += kLanes;
  const std::size_t room = kAllColumns * stride + kLanes;
  auto memory = std::make_unique<double[]>(room);
  HouseColumns fresh;
  void* start = memory.get();
  std::size_t space = room * sizeof(double);
  fresh.base =
      static_cast<double*>(std::align(64, kAllColumns * stride * sizeof(double), start, space));
  fresh.stride = stride;
  const std::size_t keep = std::min(count, units_.size());
  for (std::size_t c = 0; c < kAllColumns && columns_.base != nullptr; ++c) {
    std::copy_n(columns_.column(c), keep, fresh.column(c));
  }
  std::fill_n(fresh.column(kCapacityWh) + keep, stride - keep,
              1.0);  // padding must not divide by nought
  memory_ = std::move(memory);
  columns_ = fresh;
  block_knot_s_.assign(rounded_up(std::max<std::size_t>(count, 1), kBlock) / kBlock, -kNever);
}

std::shared_ptr<Unit> Plant::add(std::shared_ptr<Converter> converter,
                                 const UnitParameters& parameters, Profile solar, Profile load) {
  const std::size_t index = units_.size();
  const double voltage_v = index == 0 ? 0.0 : this->voltage_v();
  resize(index + 1);
  auto unit = std::make_shared<Unit>();
  unit->converter = std::move(converter);
  unit->solar = std::move(solar);
  unit->load = std::move(load);
  unit->voltage_offset_v = parameters.voltage_offset_v;
  unit->plant_ = this;
  unit->index_ = index;
  unit->next_knot_s_ = -kNever;
  units_.push_back(unit);
  unit->at(kStoredWh) = parameters.stored_wh;
  unit->at(kCapacityWh) = parameters.capacity_wh;
  unit->at(kResistance) = tables_.p.resistance_ratio > 0.0
                              ? tables_.p.reference_capacity_wh / parameters.capacity_wh
                              : 0.0;
  unit->at(kMains) = parameters.has_mains ? 1.0 : 0.0;
  unit->at(kPackDegc) = tables_.p.ambient_degc;
  set_idle(index);
  unit->at(kConverterDegc) =
      tables_.p.ambient_degc + tables_.p.converter_k_per_w * unit->at(kConverterLossW);
  unit->converter->temp_degc = unit->at(kConverterDegc);
  unit->at(kBatteryV) = unit->open_circuit_v();
  // What charges the new terminal comes from the others: the bus keeps its charge.
  const double before_ws = bus_stored_wh() * 3600.0;
  network_ = BusNetwork(units_.size(), {});
  reset_bus();
  const double count = static_cast<double>(index + 1);
  island_v_[0] = index == 0 ? 0.0 : voltage_v * static_cast<double>(index) / count;
  if (index > 0) bled_ws_.add(before_ws - bus_stored_wh() * 3600.0);
  return unit;
}

void Plant::remove(std::size_t index) {
  const double voltage_v = this->voltage_v();
  const double before_ws = bus_stored_wh() * 3600.0;
  units_[index]->converter->finish();
  units_[index]->plant_ = nullptr;
  for (std::size_t c = 0; c < kAllColumns; ++c) {
    double* const column = columns_.column(c);
    std::copy(column + index + 1, column + units_.size(), column + index);
  }
  units_.erase(units_.begin() + static_cast<std::ptrdiff_t>(index));
  for (std::size_t i = index; i < units_.size(); ++i) units_[i]->index_ = i;
  resize(units_.size());
  network_ = BusNetwork(units_.size(), {});
  reset_bus();
  if (!units_.empty()) island_v_[0] = voltage_v;
  bled_ws_.add(before_ws - bus_stored_wh() * 3600.0);
}

void Plant::reset_bus() {
  const std::size_t n = units_.size();
  island_v_.assign(std::max<std::size_t>(network_.islands(), 1), 0.0);
  island_mean_v_ = island_v_;
  drop_v_.assign(n, 0.0);
  mean_a_.assign(n, 0.0);
  unit_a_.assign(n, 0.0);
  column_v_.assign(n, 0.0);
  active_.reserve(n);
  before_a_.assign(n, 0.0);
  one_a_.assign(n, 0.0);
  saved_v_ = island_v_;
  is_saturated_.assign(n, 0);
}

void Plant::set_lines(std::vector<Line> lines) {
  const double before_ws = bus_stored_wh() * 3600.0;
  std::vector<double> node_v(size());
  for (std::size_t i = 0; i < size(); ++i) node_v[i] = island_v_[network_.island_of(i)];
  network_ = BusNetwork(size(), std::move(lines));
  reset_bus();
  for (std::size_t i = 0; i < size(); ++i) {
    const std::size_t island = network_.island_of(i);
    island_v_[island] += node_v[i] / static_cast<double>(network_.island_size(island));
  }
  bled_ws_.add(before_ws - bus_stored_wh() * 3600.0);
}

void Plant::set_line_open(std::size_t line, bool is_open) {
  std::vector<Line> lines = network_.lines();
  lines[line].is_open = is_open;
  set_lines(std::move(lines));
}

void Plant::set_profiles(std::size_t index, Profile solar, Profile load) {
  units_[index]->solar = std::move(solar);
  units_[index]->load = std::move(load);
  units_[index]->next_knot_s_ = -kNever;
  block_knot_s_[index / kBlock] = -kNever;
}

void Plant::set_time_s(double time_s) noexcept {
  time_s_ = time_s;
  for (const auto& unit : units_) unit->next_knot_s_ = -kNever;
  std::fill(block_knot_s_.begin(), block_knot_s_.end(), -kNever);
}

double Plant::voltage_v() const noexcept {
  std::size_t best = 0;
  for (std::size_t k = 1; k < network_.islands(); ++k) {
    if (network_.island_size(k) > network_.island_size(best)) best = k;
  }
  return island_v_[best];
}

void Plant::set_voltage_v(double voltage_v) noexcept {
  std::fill(island_v_.begin(), island_v_.end(), voltage_v);
}

double Plant::bus_stored_wh() const noexcept {
  double sum_ws = 0.0;
  for (std::size_t k = 0; k < network_.islands(); ++k) {
    sum_ws += 0.5 * bus.capacitance_per_unit_f * static_cast<double>(network_.island_size(k)) *
              island_v_[k] * island_v_[k];
  }
  return sum_ws / 3600.0;
}

double Plant::line_current_a(std::size_t line) const noexcept {
  const Line& cable = network_.lines()[line];
  return cable.is_open ? 0.0 : (drop_v_[cable.a] - drop_v_[cable.b]) / cable.resistance_ohm;
}

std::size_t Plant::bytes_per_unit() const noexcept {
  return kAllColumns * sizeof(double) + sizeof(Unit) + sizeof(Converter) + 7 * sizeof(double);
}

bool Plant::is_held_without(std::size_t index) const noexcept {
  for (std::size_t i = 0; i < size(); ++i) {
    const Converter& converter = *units_[i]->converter;
    if (i != index && converter.is_reference() && !converter.is_stopping() &&
        network_.island_of(i) == network_.island_of(index)) {
      return true;
    }
  }
  return false;
}

bool Plant::has_other_reference(std::size_t index) const noexcept {
  for (std::size_t i = 0; i < size(); ++i) {
    if (i != index && units_[i]->converter->is_reference() &&
        network_.island_of(i) == network_.island_of(index)) {
      return true;
    }
  }
  return false;
}

bool Plant::can_carry(std::size_t index) const noexcept {
  return bus_v(index) >= units_[index]->converter->parameters.under_voltage_trip_v ||
         has_other_reference(index);
}

void Plant::set_idle(std::size_t index) noexcept {
  const double waiting_w = units_[index]->converter->parameters.waiting_w;
  columns_.column(kConverterW)[index] = -waiting_w;
  columns_.column(kConverterLossW)[index] = waiting_w;
  columns_.column(kIdle)[index] = 1.0;
}

// --- time
// -------------------------------------------------------------------------------------------------------------

void Plant::step(double dt_s) noexcept {
  const double end_s = time_s_ + dt_s;
  double left_s = dt_s;
  active_.clear();
  for (std::size_t i = 0; i < size(); ++i) {
    if (units_[i]->converter->is_active()) {
      active_.push_back(i);
    } else if (columns_.column(kIdle)[i] == 0.0) {
      set_idle(i);  // switched off between two steps
    }
  }
  while (left_s > kShortestStepS) {
    bool is_alive = false;
    for (const double volts : island_v_) is_alive |= volts > 0.0;
    if (active_.empty() && !is_alive) {
      step_idle(left_s);
      break;
    }
    left_s -= substep(left_s);
  }
  for (std::size_t i = 0; i < size(); i += kBlock)
    settle_sums(columns_, i, std::min(i + kBlock, columns_.stride));
  time_s_ = end_s;
}

// Nothing is on: blocks of houses, each through the whole time.
void Plant::step_idle(double dt_s) noexcept {
  constexpr double kSettleSteps = 4096;  // the parts of the sums are put away so often
  const double whole = std::floor(dt_s / bus.idle_step_s * (1.0 + 1e-12));
  const double rest_s = dt_s - whole * bus.idle_step_s;
  const std::size_t padded = rounded_up(size(), kLanes);
  for (std::size_t begin = 0; begin < padded; begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, padded);
    for (double n = 0.0; n < whole; n += 1.0) {
      move_houses(begin, end, time_s_ + n * bus.idle_step_s, bus.idle_step_s);
      if (std::fmod(n, kSettleSteps) == kSettleSteps - 1.0) settle_sums(columns_, begin, end);
    }
    if (rest_s > kShortestStepS)
      move_houses(begin, end, time_s_ + whole * bus.idle_step_s, rest_s);
  }
  is_stiff_ = false;
  line_loss_w_ = 0.0;
}

void Plant::move_houses(std::size_t begin, std::size_t end, double from_s, double dt_s) noexcept {
  const double mid_s = from_s + 0.5 * dt_s;
  if (mid_s >= block_knot_s_[begin / kBlock]) next_lines(begin, end, mid_s);
  step_houses(tables_, columns_, begin, end, mid_s, dt_s);
}

namespace {

// The line of a profile that holds at a time; returns when the next one begins. [s]
double line_of(const Profile& profile, double at_s, double& value, double& slope,
               double& from_s) noexcept {
  const float* const values = profile.values.get();
  const double position = std::floor((at_s - profile.origin_s) / profile.step_s);
  const double count = static_cast<double>(profile.count);
  const auto k =
      static_cast<std::size_t>(position - count * std::floor(position / count)) % profile.count;
  const std::size_t next = k + 1 == profile.count ? 0 : k + 1;
  value = static_cast<double>(values[k]);
  slope = (static_cast<double>(values[next]) - value) / profile.step_s;
  from_s = profile.origin_s + position * profile.step_s;
  return profile.count == 1 ? kNever : from_s + profile.step_s;
}

}  // namespace

void Plant::next_lines(std::size_t begin, std::size_t end, double at_s) noexcept {
  double next_s = kNever;
  for (std::size_t i = begin; i < std::min(end, size()); ++i) {
    Unit& unit = *units_[i];
    if (at_s >= unit.next_knot_s_) {
      const double solar_s = line_of(unit.solar, at_s, unit.at(kSolarValue), unit.at(kSolarSlope),
                                     unit.at(kSolarFrom));
      const double load_s =
          line_of(unit.load, at_s, unit.at(kLoadValue), unit.at(kLoadSlope), unit.at(kLoadFrom));
      unit.next_knot_s_ = std::min(solar_s, load_s);
    }
    next_s = std::min(next_s, unit.next_knot_s_);
  }
  block_knot_s_[begin / kBlock] = next_s;
}

// Advance by as much as one set of mean values may cover; returns how much. [s]
double Plant::substep(double longest_s) noexcept {
  double dt_s = std::min(longest_s, stop_at_limits());
  dt_s = std::min(dt_s, resolution_s());
  dt_s = move_bus(dt_s);

  for (const std::size_t i : active_) {
    const double grid_w = mean_a_[i] * (island_mean_v_[network_.island_of(i)] + drop_v_[i]);
    const double lost_w = units_[i]->converter->count(grid_w, dt_s);
    columns_.column(kConverterW)[i] = grid_w - lost_w;
    columns_.column(kConverterLossW)[i] = lost_w;
    columns_.column(kIdle)[i] = 0.0;
  }
  const std::size_t padded = rounded_up(size(), kLanes);
  for (std::size_t begin = 0; begin < padded; begin += kBlock) {
    move_houses(begin, std::min(begin + kBlock, padded), time_s_, dt_s);
  }
  time_s_ += dt_s;
  protect();
  finish_stops();
  const auto is_off = [this](std::size_t i) {
    if (units_[i]->converter->is_active()) return false;
    set_idle(i);
    return true;
  };
  active_.erase(std::remove_if(active_.begin(), active_.end(), is_off), active_.end());
  return dt_s;
}

// Begin the stops that are due, and say when the next one is. [s]
double Plant::stop_at_limits() noexcept {
  double next_s = kNever;
  for (const std::size_t i : active_) {
    Converter& converter = *units_[i]->converter;
    const double due_s = converter.time_to_stop(bus_v(i));
    if (due_s > kShortestStepS) {
      next_s = std::min(next_s, due_s);
    } else if (converter.next_current_a > 0.0) {
      converter.go_on_with_less();
    } else {
      converter.stop(StopCause::kEnergyReached, has_other_reference(i), StopReason::kEnergyReached,
                     converter.moved_wh(), converter.energy_limit_wh);
    }
  }
  return next_s;
}

// How long mean values are good for: as long as nothing changes course. [s]
double Plant::resolution_s() const noexcept {
  if (is_stiff_) return kStiffStepS;
  bool is_held = false;
  for (const std::size_t i : active_) {
    const Converter& converter = *units_[i]->converter;
    if (converter.is_reference()) {
      is_held = true;
      if (converter.is_stopping() || converter.regulated_v != converter.voltage_setpoint_v)
        return kRampStepS;
    } else if (converter.current_a != converter.target_a(bus_v(i))) {
      return kRampStepS;
    }
  }
  return is_held || active_.empty() ? kIdleStepS : kStiffStepS;
}

// Solve the bus over a step, or over a shorter one if it turns out stiff; returns its length. [s]
double Plant::move_bus(double dt_s) noexcept {
  for (const std::size_t i : active_) {
    Converter& converter = *units_[i]->converter;
    before_a_[i] = converter.current_a;
    if (!converter.is_reference()) mean_a_[i] = converter.move_current(bus_v(i), dt_s);
  }
  std::copy(island_v_.begin(), island_v_.end(), saved_v_.begin());
  std::fill(unit_a_.begin(), unit_a_.end(), 0.0);
  is_stiff_ = false;
  step_bled_ws_ = 0.0;
  for (std::size_t island = 0; island < network_.islands(); ++island) hold_island(island, dt_s);
  if (is_stiff_ && dt_s > kStiffStepS) {
    std::copy(saved_v_.begin(), saved_v_.end(), island_v_.begin());
    for (const std::size_t i : active_) {
      units_[i]->converter->current_a = before_a_[i];
    }
    return move_bus(kStiffStepS);
  }
  bled_ws_.add(step_bled_ws_);

  if (!network_.is_ideal()) {
    network_.drops(unit_a_.data(), drop_v_.data());
    line_loss_w_ = network_.loss_w(drop_v_.data());
    line_loss_ws_.add(line_loss_w_ * dt_s);
  }
  for (const std::size_t i : active_) {
    Converter& converter = *units_[i]->converter;
    if (!converter.is_reference()) continue;
    converter.current_a = mean_a_[i] = unit_a_[i];
    const bool is_saturated = is_saturated_[i] != 0;
    converter.saturated_s = is_saturated ? converter.saturated_s + dt_s : 0.0;
    // A saturated reference starts anew from where the bus is, instead of winding up.
    converter.regulated_v =
        is_saturated ? island_v_[network_.island_of(i)] : converter.next_setpoint_v(dt_s);
    if (!converter.is_stopping())
      converter.has_held |= converter.regulated_v == converter.voltage_setpoint_v;
  }
  return dt_s;
}

// One island over a step. Mean currents are such that sum(i) * dt = -C * (V1 - V0) holds exactly;
// with the mean voltage (V0 + V1)/2 the energy then balances exactly too, because C * (V1 - V0) *
// (V1 + V0)/2 is the change of C*V^2/2.
void Plant::hold_island(std::size_t island, double dt_s) noexcept {
  const double before_v = island_v_[island];
  const double c_f =
      bus.capacitance_per_unit_f * static_cast<double>(network_.island_size(island));
  std::size_t owner[kMostReferences];
  Reference reference[kMostReferences];
  std::size_t count = 0;
  double load_a = 0.0;
  bool is_loose = false;
  for (const std::size_t i : active_) {
    if (network_.island_of(i) != island) continue;
    if (units_[i]->converter->is_reference()) {
      if (count < kMostReferences) owner[count++] = i;
    } else {
      load_a += mean_a_[i];
      unit_a_[i] = mean_a_[i];
      is_loose |= mean_a_[i] != 0.0;
    }
  }
  if (count == 0) {
    // No reference: discharge resistors pull the voltage down, current sources push it about. With
    // R = decay/C the exact answer to a constant current is an exponential towards -load*R. The
    // resistors stand for the converters' output stages, which discharge a bus that nobody holds;
    // they cost a held bus nothing.
    is_stiff_ |= is_loose;
    const double decay_s = bus.decay_time_constant_s;
    const double goal_v = -load_a * decay_s / c_f, gap_v = before_v - goal_v;
    const double fallen = -std::expm1(-dt_s / decay_s);
    double end_v = before_v - gap_v * fallen;
    double bled_ws = (goal_v * goal_v * dt_s + 2.0 * goal_v * gap_v * fallen * decay_s +
                      gap_v * gap_v * -std::expm1(-2.0 * dt_s / decay_s) * 0.5 * decay_s) *
                     c_f / decay_s;
    island_mean_v_[island] = goal_v + gap_v * fallen * decay_s / dt_s;
    if (load_a == 0.0 && end_v < kDeadV) {
      bled_ws += 0.5 * c_f * end_v * end_v;
      end_v = 0.0;
    }
    step_bled_ws_ += bled_ws;
    island_v_[island] = end_v;
    return;
  }
  double drop_v[kMostReferences] = {}, mutual_ohm[kMostReferences * kMostReferences] = {};
  if (!network_.is_ideal()) {
    network_.drops(unit_a_.data(), column_v_.data());
    for (std::size_t k = 0; k < count; ++k) drop_v[k] = column_v_[owner[k]];
    for (std::size_t m = 0; m < count; ++m) {
      one_a_[owner[m]] = 1.0;
      network_.drops(one_a_.data(), column_v_.data());
      one_a_[owner[m]] = 0.0;
      for (std::size_t k = 0; k < count; ++k) mutual_ohm[k * count + m] = -column_v_[owner[k]];
    }
  }
  for (std::size_t k = 0; k < count; ++k) {
    const Unit& unit = *units_[owner[k]];
    const Converter& converter = *unit.converter;
    const bool is_alone = count == 1;
    reference[k].source_v =
        converter.next_setpoint_v(dt_s) + (is_alone ? 0.0 : unit.voltage_offset_v);
    reference[k].resistance_ohm = std::max(converter.droop_ohm(), is_alone ? 0.0 : kStrayOhm);
    reference[k].limit_a = converter.current_setpoint_a;
  }
  double mean_v = before_v;
  const bool is_rigid = count == 1 && reference[0].resistance_ohm == 0.0 && network_.is_ideal();
  if (is_rigid) {
    // It carries what the others leave, and holds its voltage if it can.
    const double needed_a = -load_a - c_f * (reference[0].source_v - before_v) / dt_s;
    reference[0].is_saturated = std::abs(needed_a) > reference[0].limit_a;
    reference[0].current_a = std::clamp(needed_a, -reference[0].limit_a, reference[0].limit_a);
  } else {
    share_load(count, reference, drop_v, mutual_ohm, load_a, c_f / dt_s, before_v, mean_v);
  }
  double sum_a = load_a;
  for (std::size_t k = 0; k < count; ++k) {
    sum_a += unit_a_[owner[k]] = reference[k].current_a;
    is_saturated_[owner[k]] = reference[k].is_saturated ? 1 : 0;
    is_stiff_ |= reference[k].is_saturated;
  }
  const double end_v = is_rigid && !reference[0].is_saturated ? reference[0].source_v
                                                              : before_v - sum_a * dt_s / c_f;
  island_v_[island] = end_v;
  island_mean_v_[island] = 0.5 * (before_v + end_v);
}

// --- what a converter does by itself
// ------------------------------------------------------------------------------------

void Plant::protect() noexcept {
  for (const std::size_t i : active_) {
    Unit& unit = *units_[i];
    Converter& converter = *unit.converter;
    converter.temp_degc = unit.at(kConverterDegc);
    if (converter.protect(bus_v(i))) continue;
    if (converter.current_a < 0.0 && unit.is_empty()) {
      converter.trip(StopReason::kBatteryEmpty);
    } else if (converter.current_a > 0.0 && unit.at(kOverchargeW) > 0.0) {
      converter.trip(StopReason::kBatteryFull);
    }
  }
}

// Orderly stops that have come to their end.
void Plant::finish_stops() noexcept {
  for (const std::size_t i : active_) {
    Converter& converter = *units_[i]->converter;
    if (!converter.is_stopping()) continue;
    if (converter.is_reference() ? bus_v(i) <= converter.parameters.dead_bus_v
                                 : converter.current_a == 0.0 || !can_carry(i)) {
      converter.finish();
    }
  }
}

}  // namespace apis_control
