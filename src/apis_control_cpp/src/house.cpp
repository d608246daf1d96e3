#include "apis_control/house.hpp"

#include <algorithm>
#include <cmath>

// One build runs on any x86-64 and uses what the machine has. Contraction to fused multiply-add is
// off (CMakeLists), so that all variants give the same bits: a seed replays everywhere.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(APIS_CONTROL_NO_CLONES)
#define APIS_CONTROL_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define APIS_CONTROL_CLONES
#endif

namespace apis_control {

namespace {

double interpolated(const std::vector<double>& x, const std::vector<double>& y, double at) {
  if (at <= x[0]) return y[0];
  for (std::size_t k = 1; k < x.size(); ++k) {
    if (at <= x[k]) return y[k - 1] + (y[k] - y[k - 1]) * (at - x[k - 1]) / (x[k] - x[k - 1]);
  }
  return y.back();
}

// State of charge at a stored energy, both as ratios: dE/dz = Q * OCV(z), the integral of the
// table's lines.
class ChargeOfEnergy {
 public:
  explicit ChargeOfEnergy(const BatteryCells& cells)
      : soc_(cells.soc_ratio), ocv_v_(cells.open_circuit_v), energy_(soc_.size(), 0.0) {
    for (std::size_t k = 1; k < soc_.size(); ++k) {
      energy_[k] = energy_[k - 1] + 0.5 * (ocv_v_[k] + ocv_v_[k - 1]) * (soc_[k] - soc_[k - 1]);
    }
  }
  double operator()(double energy_ratio) const {
    const double energy = energy_ratio * energy_.back();
    std::size_t k = 1;
    while (k < soc_.size() - 1 && energy > energy_[k]) ++k;
    const double slope = (ocv_v_[k] - ocv_v_[k - 1]) / (soc_[k] - soc_[k - 1]);
    const double rest = std::max(energy - energy_[k - 1], 0.0), v = ocv_v_[k - 1];
    return soc_[k - 1] + 2.0 * rest / (v + std::sqrt(v * v + 2.0 * slope * rest));
  }

 private:
  const std::vector<double>& soc_;
  const std::vector<double>& ocv_v_;
  std::vector<double> energy_;
};

}  // namespace

HouseTables::HouseTables(const HouseParameters& parameters, const BatteryCells& cells)
    : p(parameters) {
  const ChargeOfEnergy charge(cells);
  for (int k = 0; k <= kOcvSteps; ++k) {
    ocv_v[static_cast<std::size_t>(k)] = interpolated(cells.soc_ratio, cells.open_circuit_v,
                                                      charge(static_cast<double>(k) / kOcvSteps));
  }
  for (std::size_t k = 0; k < kOcvSteps; ++k) ocv_slope[k] = ocv_v[k + 1] - ocv_v[k];
  for (int k = 0; k < kOcvSteps &&
                  ocv_v[static_cast<std::size_t>(k)] < p.discharge_limit_v + p.empty_margin_v;
       ++k) {
    empty_ratio = static_cast<double>(k + 1) / kOcvSteps;
  }
  std::size_t at = 0;
  for (const auto& direction : cells.resistance_mohm) {
    for (const auto& at_temperature : direction) {
      for (int k = 0; k <= kResistanceSteps; ++k) {
        const double soc = charge(static_cast<double>(k) / kResistanceSteps);
        const double mohm = interpolated(cells.resistance_soc_ratio, at_temperature, soc);
        resistance_ohm[at++] = p.resistance_ratio * mohm * 1e-3 +
                               (p.resistance_ratio > 0.0 ? p.extra_resistance_ohm : 0.0);
      }
    }
  }
}

double HouseTables::ocv(double energy_ratio) const noexcept {
  const double x = std::clamp(energy_ratio, 0.0, 1.0) * kOcvSteps;
  const auto k = std::min(static_cast<std::size_t>(x), static_cast<std::size_t>(kOcvSteps - 1));
  return ocv_v[k] + (x - static_cast<double>(k)) * ocv_slope[k];
}

APIS_CONTROL_CLONES
void step_houses(const HouseTables& tables, const HouseColumns& columns, std::size_t begin,
                 std::size_t end, double mid_s, double dt_s) noexcept {
  const HouseParameters p = tables.p;
  const double* const ocv_v = tables.ocv_v.data();
  const double* const ocv_slope = tables.ocv_slope.data();
  const double* const resistance_ohm = tables.resistance_ohm.data();
  constexpr int kAtTemperature = HouseTables::kResistanceSteps + 1;

  double* const base = columns.base + begin;
  const std::size_t stride = columns.stride;
  const auto column = [base, stride](std::size_t c) { return base + c * stride; };
  double* const stored = column(kStoredWh);
  const double* const capacity = column(kCapacityWh);
  const double* const resistance = column(kResistance);
  const double* const has_mains = column(kMains);
  double* const bypass = column(kBypass);
  double* const ac_charging = column(kAcCharging);
  double* const dark = column(kDark);
  double* const pack_degc = column(kPackDegc);
  double* const converter_degc = column(kConverterDegc);
  const double* const converter = column(kConverterW);
  const double* const converter_loss = column(kConverterLossW);
  const double* const idle = column(kIdle);
  const double* const solar_value = column(kSolarValue);
  const double* const solar_slope = column(kSolarSlope);
  const double* const solar_from = column(kSolarFrom);
  const double* const load_value = column(kLoadValue);
  const double* const load_slope = column(kLoadSlope);
  const double* const load_from = column(kLoadFrom);
  double* const solar_out = column(kSolarW);
  double* const available_out = column(kSolarAvailableW);
  double* const load_out = column(kLoadW);
  double* const unserved_out = column(kUnservedW);
  double* const mains_out = column(kMainsW);
  double* const ac_loss_out = column(kAcLossW);
  double* const dc_loss_out = column(kDcLossW);
  double* const battery_out = column(kBatteryW);
  double* const battery_loss_out = column(kBatteryLossW);
  double* const overcharge_out = column(kOverchargeW);
  double* const volts_out = column(kBatteryV);
  double* const amps_out = column(kBatteryA);
  double* const parts = column(kColumns + kSums);

  const double h = dt_s / 3600.0, per_h = 3600.0 / dt_s;
  const double pack_share = dt_s / (p.pack_heat_j_per_k / p.pack_cooling_w_per_k + dt_s);
  const double converter_share = dt_s / (p.converter_heat_j_per_k * p.converter_k_per_w + dt_s);
  const double self_discharge = p.self_discharge_per_s * 3600.0;
  const std::size_t count = end - begin;

#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    const double energy = stored[i], full = capacity[i];
    const double soc = energy / full;

    // Hysteresis: between its two thresholds a flag keeps its state.
    const double mains = has_mains[i];
    const double on_bypass = mains * (soc <= p.bypass_on_ratio   ? 1.0
                                      : soc < p.bypass_off_ratio ? bypass[i]
                                                                 : 0.0);
    const double on_ac = mains * (soc <= p.ac_charge_on_ratio   ? 1.0
                                  : soc < p.ac_charge_off_ratio ? ac_charging[i]
                                                                : 0.0);
    const double on_dark = (1.0 - mains) * (soc <= p.dark_on_ratio   ? 1.0
                                            : soc < p.dark_off_ratio ? dark[i]
                                                                     : 0.0);
    bypass[i] = on_bypass;
    ac_charging[i] = on_ac;
    dark[i] = on_dark;

    // Sun, load, UPS and mains.
    const double sun = solar_value[i] + solar_slope[i] * (mid_s - solar_from[i]);
    const double available = sun > 0.0 ? sun : 0.0;
    const double wish = load_value[i] + load_slope[i] * (mid_s - load_from[i]);
    const double wanted = wish > 0.0 ? wish : 0.0;
    const double served = on_dark > 0.0 ? 0.0 : wanted;
    const double bypass_loss =
        p.transformer_loss_w + p.bypass_loss_w + p.bypass_loss_ratio * served;
    const double idle_mains = p.transformer_loss_w * mains;
    const double from_battery = on_bypass > 0.0 ? 0.0 : served;
    const double inverter_loss =
        on_bypass + on_dark > 0.0 ? 0.0 : p.inverter_loss_w + p.inverter_loss_ratio * served;
    const double ac_loss =
        (on_bypass > 0.0 ? bypass_loss : idle_mains) + on_ac * p.ac_charge_loss_w;
    const double from_mains = (on_bypass > 0.0 ? served + bypass_loss : idle_mains) +
                              on_ac * (p.ac_charge_w + p.ac_charge_loss_w);
    const double ups_loss = p.system_loss_w + inverter_loss;
    const double others = converter[i] - (from_battery + ups_loss) + on_ac * p.ac_charge_w;

    // What the battery could take and give at its terminals.
    const double x = soc * HouseTables::kOcvSteps;
    const int xi = static_cast<int>(x);
    const int k = xi < HouseTables::kOcvSteps ? xi : HouseTables::kOcvSteps - 1;
    const double ocv = ocv_v[k] + (x - static_cast<double>(k)) * ocv_slope[k];
    const double wish_w = available + others;
    const double degc = pack_degc[i];
    const double warm = (degc - 10.0) * (1.0 / 15.0);
    const double warmth = warm < 0.0 ? 0.0 : warm > 2.0 ? 2.0 : warm;
    const int t = warmth >= 1.0 ? 1 : 0;
    const double t_share = warmth - static_cast<double>(t);
    const int side = wish_w < 0.0 ? 3 : 0;
    const int r_at =
        (side + t) * kAtTemperature + static_cast<int>(soc * HouseTables::kResistanceSteps + 0.5);
    const double cold_ohm = resistance_ohm[r_at], warm_ohm = resistance_ohm[r_at + kAtTemperature];
    const double ohm = (cold_ohm + (warm_ohm - cold_ohm) * t_share) * resistance[i];

    const double up_v = ocv + p.hysteresis_v * (resistance[i] > 0.0 ? 1.0 : 0.0);
    const double down_v = 2.0 * ocv - up_v;
    const double ampere_hours = full * (1.0 / 51.2);
    const double tiny_ohm = ohm > 1e-9 ? ohm : 1e-9;
    const double room_a = (full - energy) * per_h / (ocv * p.coulombic_efficiency);
    const double head_a = (p.charge_limit_v - up_v) / tiny_ohm;
    double in_a = p.charge_c_rate * ampere_hours;
    in_a = room_a < in_a ? room_a : in_a;
    in_a = head_a < in_a ? head_a : in_a;
    in_a = in_a > 0.0 ? in_a : 0.0;
    in_a = degc < p.charge_least_degc ? 0.0 : in_a;
    const double left_a = energy * per_h / ocv;
    const double foot_a = (down_v - p.discharge_limit_v) / tiny_ohm;
    double out_a = p.discharge_c_rate * ampere_hours;
    out_a = left_a < out_a ? left_a : out_a;
    out_a = foot_a < out_a ? foot_a : out_a;
    out_a = out_a > 0.0 ? out_a : 0.0;
    const double most_w = (up_v + ohm * in_a) * in_a;
    const double least_w = -(down_v - ohm * out_a) * out_a;

    // Full: the panels are throttled first, and what is left over is burned. Empty: the UPS lets
    // go of the load, and electronics that have no supply burn nothing either.
    const double surplus = wish_w > most_w ? wish_w - most_w : 0.0;
    const double curtailed = surplus < available ? surplus : available;
    const double overcharge = surplus - curtailed;
    const double shortage = wish_w < least_w ? least_w - wish_w : 0.0;
    const double cut = shortage < from_battery ? shortage : from_battery;
    const double solar = available - curtailed;
    const double battery = surplus > 0.0 ? most_w : shortage > 0.0 ? least_w : wish_w;
    const double dc_loss = ups_loss + converter_loss[i] + overcharge - (shortage - cut);
    const double load = served - cut;
    const double unserved = wanted - load;

    // Terminal power P = v*i with v = a + R*i:  i = 2 P / (a + sqrt(a^2 + 4 R P)), the root that
    // goes to zero with P.
    const double a = battery < 0.0 ? down_v : up_v;
    const double under = a * a + 4.0 * ohm * battery;
    const double amps = 2.0 * battery / (a + std::sqrt(under > 0.0 ? under : 0.0));
    const double chemical = ocv * amps * (amps > 0.0 ? p.coulombic_efficiency : 1.0);
    const double leak = self_discharge * energy;
    const double battery_loss = battery - chemical + leak;
    const double now = energy + (chemical - leak) * h;
    const double kept = now < 0.0 ? 0.0 : now > full ? full : now;
    stored[i] = kept;

    pack_degc[i] =
        degc + (p.ambient_degc + battery_loss / p.pack_cooling_w_per_k - degc) * pack_share;
    const double inside = converter_degc[i];
    converter_degc[i] =
        inside +
        (p.ambient_degc + p.converter_k_per_w * converter_loss[i] - inside) * converter_share;

    solar_out[i] = solar;
    available_out[i] = available;
    load_out[i] = load;
    unserved_out[i] = unserved;
    mains_out[i] = from_mains;
    ac_loss_out[i] = ac_loss;
    dc_loss_out[i] = dc_loss;
    battery_out[i] = battery;
    battery_loss_out[i] = battery_loss;
    overcharge_out[i] = overcharge;
    volts_out[i] = a + ohm * amps;
    amps_out[i] = amps;
    double* const part = parts + i;
    part[0 * stride] += solar * h;
    part[1 * stride] += curtailed * h;
    part[2 * stride] += load * h;
    part[3 * stride] += unserved * h;
    part[4 * stride] += from_mains * h;
    part[5 * stride] += ac_loss * h;
    part[6 * stride] += dc_loss * h;
    part[7 * stride] += battery_loss * h;
    part[8 * stride] += idle[i] * dt_s;
  }
}

APIS_CONTROL_CLONES
void settle_sums(const HouseColumns& columns, std::size_t begin, std::size_t end) noexcept {
  for (std::size_t c = 0; c < kSums; ++c) {
    double* const sum = columns.column(kFirstSum + c);
    double* const lost = columns.column(kColumns + c);
    double* const part = columns.column(kColumns + kSums + c);
#pragma GCC ivdep
    for (std::size_t i = begin; i < end; ++i) {
      // Two-sum of Knuth: `total + error` is exactly `sum + term`.
      const double term = part[i] + lost[i], total = sum[i] + term;
      const double round = total - sum[i];
      lost[i] = (sum[i] - (total - round)) + (term - round);
      sum[i] = total;
      part[i] = 0.0;
    }
  }
}

}  // namespace apis_control
