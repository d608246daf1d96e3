// One house over a year, behind a converter whose power is constant between events.
//
// A study jumps from event to event. So a house has a time of its own: it is brought up to date
// when somebody looks at it, and it says beforehand when its battery will leave a range. The
// physics is that of the plant (house.hpp), in steps that end on multiples of `step_s`.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "apis_control/energy_meter.hpp"
#include "apis_control/house.hpp"
#include "apis_control/plant.hpp"

namespace apis_control {

/// The range that a house's energy is in, and how what counts beside the store changes.
struct Watch {
  double low_wh = -kNever;          ///< [Wh] of store and `committed`, included
  double high_wh = kNever;          ///< [Wh] of store and `committed`, not included
  double committed_wh = 0.0;        ///< [Wh] what counts beside the store, now
  double committed_wh_per_s = 0.0;  ///< [Wh/s]
  double floor_wh = -kNever;        ///< [Wh] of the store alone
  double ceiling_wh = kNever;       ///< [Wh] of the store alone
};

/// Deterministic: equal calls give equal results, on any machine.
class HouseRun {
 public:
  HouseRun(std::shared_ptr<const HouseTables> tables, const UnitParameters& unit, Profile solar,
           Profile load, double step_s);

  /// The converter carries this power from now on: at the bus, + = into the unit, and lost in it.
  void set_converter(double grid_w, double loss_w, bool is_on) noexcept;
  /// Let time pass until `to_s`; nothing happens if that is past. [s]
  void advance(double to_s) noexcept;
  /// When the range is left, at the latest `until_s`, if nothing changes meanwhile. [s]
  [[nodiscard]] double leaves_at(const Watch& watch, double until_s);

  [[nodiscard]] double time_s() const noexcept { return time_s_; }
  [[nodiscard]] double at(Column column) const noexcept { return cells_[column * kLanes]; }

  // Sums since the start.
  CompensatedSum received_ws, sent_ws;               ///< over the bus terminal [Ws]
  CompensatedSum converter_on_ws, converter_off_ws;  ///< lost in the converter [Ws]
  CompensatedSum charged_ws, discharged_ws;          ///< at the battery's terminals [Ws]
  double unserved_s = 0.0;                           ///< how long some load was not supplied [s]

 private:
  using Cells = std::array<double, kAllColumns * kLanes>;
  /// Where a house will be if nothing changes: looked up again and again, reckoned once.
  struct Ahead {
    std::vector<double> time_s, stored_wh;  ///< at the ends of its steps
    alignas(64) Cells cells;                ///< at the last of them
    std::size_t next = 0;                   ///< the first that is not past
  };

  [[nodiscard]] double step_end(double from_s, double to_s) const noexcept;
  void step(Cells& cells, double from_s, double end_s) const noexcept;
  void look_further();

  std::shared_ptr<const HouseTables> tables_;
  Profile solar_, load_;
  double step_s_;
  double time_s_ = 0.0;
  double grid_w_ = 0.0, loss_w_ = 0.0;
  bool is_on_ = false;
  alignas(64) Cells cells_{};
  Ahead ahead_;
};

}  // namespace apis_control
