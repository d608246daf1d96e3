#include "apis_control/house_run.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace apis_control {

namespace {

constexpr double kTimeGrainS = 1e-6;  // shorter steps are rounding

double value_at(const Profile& profile, double at_s) noexcept {
  const float* const values = profile.values.get();
  const double position = (at_s - profile.origin_s) / profile.step_s;
  const double whole = std::floor(position);
  const double count = static_cast<double>(profile.count);
  const auto k =
      static_cast<std::size_t>(whole - count * std::floor(whole / count)) % profile.count;
  const std::size_t next = k + 1 == profile.count ? 0 : k + 1;
  const double value = static_cast<double>(values[k]);
  return value + (position - whole) * (static_cast<double>(values[next]) - value);
}

// The part of a step, 0..1, at which a line from `before` to `after` leaves [low, high); 2 = it
// does not.
double leaving(double before, double after, double low, double high) noexcept {
  if (before < low || before >= high) return 0.0;
  if (after < low) return (before - low) / (before - after);
  if (after >= high) return (high - before) / (after - before);
  return 2.0;
}

}  // namespace

HouseRun::HouseRun(std::shared_ptr<const HouseTables> tables, const UnitParameters& unit,
                   Profile solar, Profile load, double step_s)
    : tables_(std::move(tables)),
      solar_(std::move(solar)),
      load_(std::move(load)),
      step_s_(step_s) {
  for (std::size_t lane = 0; lane < kLanes; ++lane) {  // the loop wants whole blocks
    const auto cell = [this, lane](Column c) -> double& { return cells_[c * kLanes + lane]; };
    cell(kCapacityWh) = unit.capacity_wh;
    cell(kStoredWh) = unit.stored_wh;
    cell(kMains) = unit.has_mains ? 1.0 : 0.0;
    cell(kResistance) = tables_->p.resistance_ratio > 0.0
                            ? tables_->p.reference_capacity_wh / unit.capacity_wh
                            : 0.0;
    cell(kPackDegc) = tables_->p.ambient_degc;
    cell(kConverterDegc) = tables_->p.ambient_degc;
  }
}

void HouseRun::set_converter(double grid_w, double loss_w, bool is_on) noexcept {
  grid_w_ = grid_w;
  loss_w_ = loss_w;
  is_on_ = is_on;
  std::fill_n(&cells_[kConverterW * kLanes], kLanes, grid_w - loss_w);
  std::fill_n(&cells_[kConverterLossW * kLanes], kLanes, loss_w);
  std::fill_n(&cells_[kIdle * kLanes], kLanes, is_on ? 0.0 : 1.0);
  ahead_.time_s.clear();
}

double HouseRun::step_end(double from_s, double to_s) const noexcept {
  const double knot_s = (std::floor((from_s + kTimeGrainS) / step_s_) + 1.0) * step_s_;
  return std::min(knot_s, to_s);
}

void HouseRun::step(Cells& cells, double from_s, double end_s) const noexcept {
  const double dt_s = end_s - from_s, mid_s = 0.5 * (from_s + end_s);
  std::fill_n(&cells[kSolarValue * kLanes], kLanes, value_at(solar_, mid_s));
  std::fill_n(&cells[kLoadValue * kLanes], kLanes, value_at(load_, mid_s));
  step_houses(*tables_, HouseColumns{cells.data(), kLanes}, 0, kLanes, mid_s, dt_s);
}

void HouseRun::advance(double to_s) noexcept {
  if (to_s - time_s_ < kTimeGrainS) return;
  const double from_s = time_s_;
  double charged_ws_part = 0.0, discharged_ws_part = 0.0;
  while (to_s - time_s_ >= kTimeGrainS) {
    const double end_s = step_end(time_s_, to_s), dt_s = end_s - time_s_;
    step(cells_, time_s_, end_s);
    time_s_ = end_s;
    const double battery_w = at(kBatteryW);
    (battery_w > 0.0 ? charged_ws_part : discharged_ws_part) += std::abs(battery_w) * dt_s;
    if (at(kUnservedW) > 0.0) unserved_s += dt_s;
  }
  charged_ws.add(charged_ws_part);
  discharged_ws.add(discharged_ws_part);
  settle_sums(HouseColumns{cells_.data(), kLanes}, 0, kLanes);
  const double dt_s = time_s_ - from_s;
  (grid_w_ > 0.0 ? received_ws : sent_ws).add(std::abs(grid_w_) * dt_s);
  (is_on_ ? converter_on_ws : converter_off_ws).add(loss_w_ * dt_s);
}

// One more step ahead.
void HouseRun::look_further() {
  if (ahead_.time_s.empty()) {
    ahead_.cells = cells_;
    ahead_.time_s.push_back(time_s_);
    ahead_.stored_wh.assign(1, at(kStoredWh));
    ahead_.next = 0;
  }
  const double from_s = ahead_.time_s.back(), end_s = step_end(from_s, kNever);
  step(ahead_.cells, from_s, end_s);
  ahead_.time_s.push_back(end_s);
  ahead_.stored_wh.push_back(ahead_.cells[kStoredWh * kLanes]);
}

double HouseRun::leaves_at(const Watch& watch, double until_s) {
  const auto counted = [&](double stored_wh, double at_s) {
    return stored_wh + watch.committed_wh + watch.committed_wh_per_s * (at_s - time_s_);
  };
  double before_s = time_s_, before_wh = at(kStoredWh);
  for (std::size_t k = ahead_.time_s.empty() ? 0 : ahead_.next; before_s < until_s; ++k) {
    while (k >= ahead_.time_s.size()) look_further();
    const double after_s = ahead_.time_s[k], after_wh = ahead_.stored_wh[k];
    if (after_s <= time_s_ + kTimeGrainS) {
      ahead_.next = k;
      continue;
    }
    const double share = std::min(leaving(before_wh, after_wh, watch.floor_wh, watch.ceiling_wh),
                                  leaving(counted(before_wh, before_s), counted(after_wh, after_s),
                                          watch.low_wh, watch.high_wh));
    if (share <= 1.0) return std::min(before_s + share * (after_s - before_s), until_s);
    before_s = after_s;
    before_wh = after_wh;
  }
  return until_s;
}

}  // namespace apis_control
