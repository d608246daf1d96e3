// All hardware of a grid together: houses, converters and the bus between them, in virtual time.
//
// A step is cut into sub-steps: no longer than kRampStepS while anything ramps, than kStiffStepS
// while nothing steadies the bus, and ending on the instant at which a converter reaches its
// energy limit. While nothing is on, the houses know nothing of each other, and a block of them
// goes through all sub-steps at once, in the processor's first cache.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "apis_control/bus_network.hpp"
#include "apis_control/converter.hpp"
#include "apis_control/house.hpp"

namespace apis_control {

inline constexpr double kIdleStepS = 1.0;
inline constexpr double kRampStepS = 0.1;
inline constexpr double kStiffStepS = 0.01;

struct BusParameters {
  double capacitance_per_unit_f = 1.0e-3;  // [F] of a converter's bus terminal, an estimate
  double decay_time_constant_s = 20.0;     // [s] of a bus that nothing holds
  double idle_step_s =
      kIdleStepS;  // [s] sub-step while nothing is on; longer where sun and load are constant
};

/// Samples at equal distances, joined by straight lines; after the last comes the first again.
struct Profile {
  std::shared_ptr<const float> values;  ///< The first of them; they are not copied. [W]
  std::size_t count = 0;                ///< At least one.
  double step_s = 3600.0;               ///< Distance. [s]
  double origin_s = 0.0;  ///< Time of the first sample since the start of the plant. [s]

  /// The same value at any time.
  static Profile constant(float value_w) {
    return {std::make_shared<const float>(value_w), 1, 3600.0, 0.0};
  }
};

class Plant;

/// One unit of a plant. Handles stay valid while the plant lives; those of removed units are
/// detached.
class Unit {
 public:
  std::shared_ptr<Converter> converter;
  Profile solar, load;
  double voltage_offset_v =
      0.0;  ///< Error of the converter's voltmeter; references that disagree fight by it. [V]

  [[nodiscard]] bool is_attached() const noexcept { return plant_ != nullptr; }
  [[nodiscard]] std::size_t index() const noexcept { return index_; }
  /// A column of the houses' state, of this unit. Only for attached units.
  [[nodiscard]] double& at(Column column) const noexcept;
  [[nodiscard]] double bus_v() const noexcept;  ///< Voltage at its bus terminal. [V]
  [[nodiscard]] double open_circuit_v() const noexcept;
  /// The battery management forbids drawing: below half a percent, or what full power draws within
  /// two idle steps.
  [[nodiscard]] bool is_empty() const noexcept;
  [[nodiscard]] bool is_full() const noexcept { return at(kStoredWh) >= at(kCapacityWh); }
  /// Counters of the converter's battery side, its idle losses included. [Wh]
  [[nodiscard]] double battery_charged_wh() const noexcept {
    return converter->battery_charged_wh();
  }
  [[nodiscard]] double battery_discharged_wh() const noexcept;

 private:
  friend class Plant;
  Plant* plant_ = nullptr;
  std::size_t index_ = 0;
  double next_knot_s_ = 0.0;
};

/// What a unit begins with.
struct UnitParameters {
  double capacity_wh = 4800.0;
  double stored_wh = 2400.0;
  bool has_mains = true;
  double voltage_offset_v = 0.0;
};

/// Deterministic: equal steps and orders give equal results, on any machine.
class Plant {
 public:
  explicit Plant(const BusParameters& bus = {}, const HouseParameters& house = {},
                 const BatteryCells& cells = {});
  ~Plant();
  Plant(const Plant&) = delete;
  Plant& operator=(const Plant&) = delete;

  std::shared_ptr<Unit> add(std::shared_ptr<Converter> converter, const UnitParameters& unit,
                            Profile solar, Profile load);
  /// Take a unit out; its converter is switched off, and what its bus terminal holds is counted as
  /// bled. The lines are forgotten: set them anew.
  void remove(std::size_t index);
  /// Wires between the units' bus terminals (nodes = units); none = an ideal bus.
  void set_lines(std::vector<Line> lines);
  void set_line_open(std::size_t line, bool is_open);
  /// The profile of a unit changes.
  void set_profiles(std::size_t index, Profile solar, Profile load);

  /// Let a time pass. [s, > 0]
  void step(double dt_s) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return units_.size(); }
  [[nodiscard]] const std::vector<std::shared_ptr<Unit>>& units() const noexcept { return units_; }
  [[nodiscard]] const BusNetwork& network() const noexcept { return network_; }
  [[nodiscard]] double time_s() const noexcept { return time_s_; }
  void set_time_s(double time_s) noexcept;
  /// Mean of the largest island. [V]
  [[nodiscard]] double voltage_v() const noexcept;
  void set_voltage_v(double voltage_v) noexcept;  ///< Of all islands.
  [[nodiscard]] double bus_v(std::size_t index) const noexcept {
    return island_v_[network_.island_of(index)] + drop_v_[index];
  }
  [[nodiscard]] double line_loss_w() const noexcept {
    return line_loss_w_;
  }  ///< Of the last sub-step. [W]
  [[nodiscard]] double line_loss_wh() const noexcept { return line_loss_ws_.value() / 3600.0; }
  /// Burned by a bus that nothing held, by switching lines, and by taking units away. [Wh]
  [[nodiscard]] double bled_wh() const noexcept { return bled_ws_.value() / 3600.0; }
  /// Held in the capacitances. [Wh]
  [[nodiscard]] double bus_stored_wh() const noexcept;
  [[nodiscard]] double line_current_a(std::size_t line) const noexcept;

  /// Whether another unit on the same island is the voltage reference and means to stay so.
  [[nodiscard]] bool is_held_without(std::size_t index) const noexcept;

  /// The same, or is on its way down from that: two must not both take the voltage down.
  [[nodiscard]] bool has_other_reference(std::size_t index) const noexcept;

  /// The houses' columns: `size()` values each, one behind the other. Valid until units are added
  /// or removed.
  [[nodiscard]] double* column(Column column) const noexcept { return columns_.column(column); }
  [[nodiscard]] const HouseTables& tables() const noexcept { return tables_; }
  [[nodiscard]] std::size_t bytes_per_unit() const noexcept;

  BusParameters bus;

 private:
  friend class Unit;
  void resize(std::size_t count);
  void reset_bus();
  void step_idle(double dt_s) noexcept;
  double substep(double longest_s) noexcept;
  double stop_at_limits() noexcept;
  [[nodiscard]] double resolution_s() const noexcept;
  double move_bus(double dt_s) noexcept;
  void hold_island(std::size_t island, double dt_s) noexcept;
  void move_houses(std::size_t begin, std::size_t end, double from_s, double dt_s) noexcept;
  void next_lines(std::size_t begin, std::size_t end, double at_s) noexcept;
  void protect() noexcept;
  void finish_stops() noexcept;
  [[nodiscard]] bool can_carry(std::size_t index) const noexcept;
  void set_idle(std::size_t index) noexcept;

  HouseTables tables_;
  HouseColumns columns_;
  std::unique_ptr<double[]> memory_;
  std::vector<std::shared_ptr<Unit>> units_;
  std::vector<double> block_knot_s_;

  BusNetwork network_;
  std::vector<double> island_v_, island_mean_v_;             // now, and mean of the sub-step
  std::vector<double> drop_v_, mean_a_, unit_a_, column_v_;  // per unit
  std::vector<std::size_t> active_;
  std::vector<double> before_a_, one_a_, saved_v_;
  std::vector<char> is_saturated_;  // per unit
  double time_s_ = 0.0;
  double line_loss_w_ = 0.0;
  double step_bled_ws_ = 0.0;
  CompensatedSum bled_ws_, line_loss_ws_;
  bool is_stiff_ = false;
};

}  // namespace apis_control
