// Houses behind their converters: sun, load, UPS, mains and battery, many at a time.
//
// State lies in columns (structure of arrays), so that one pass of a compiler-vectorised loop
// steps a block of houses.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace apis_control {

/// A LiFePO4 battery, its management, the UPS and the mains behind it; shared by all houses of a
/// plant.
///
/// Constants of UPS and mains are those of Sony CSL's `apis-emulator` (commit 25f11d1), which look
/// like fits to a real UPS. The cell data are those of SimSES (TU Munich), cell model `SonyLFP`,
/// after the product specification of the US26650FTC1 and M. Naumann, PhD thesis, TU Munich 2018,
/// as a pack of 16s32p (96 Ah, 51.2 V).
struct HouseParameters {
  double system_loss_w = 17.5;     // [W] controls, always, from the battery
  double inverter_loss_w = 129.0;  // [W] UPS on the battery, from the battery
  double inverter_loss_ratio = 0.140;
  double transformer_loss_w = 57.0;  // [W] from the mains, always
  double bypass_loss_w = 67.0;       // [W] from the mains; transformer and UPS share the ratio
  double bypass_loss_ratio = 0.060;
  double ac_charge_w = 150.0;  // [W]
  double ac_charge_loss_w = 10.0;
  double bypass_on_ratio = 0.30, bypass_off_ratio = 0.35;
  double ac_charge_on_ratio = 0.20, ac_charge_off_ratio = 0.25;
  // Without mains the inverter lets go of the load before the battery is damaged; an engineering
  // estimate.
  double dark_on_ratio = 0.02, dark_off_ratio = 0.05;

  double reference_capacity_wh =
      4915.2;  // [Wh] of the pack that the resistances belong to: 96 Ah at 51.2 V
  double resistance_ratio = 1.0;         // times the table; 0 = an ideal battery
  double extra_resistance_ohm = 0.0075;  // [ohm] fuses, busbars, cables: 5 to 10 mohm, an estimate
  double hysteresis_v =
      0.18;  // [V] above the open-circuit voltage when charging, below when discharging
  double coulombic_efficiency = 1.0;     // of charging; 1 for LiFePO4 (Naumann 2018)
  double self_discharge_per_s = 7.6e-9;  // [1/s] 2 % a month, an estimate
  double charge_limit_v = 57.6;          // [V] 3.6 V a cell, product specification
  double discharge_limit_v = 40.0;       // [V] `ubv` of the EZA2500
  double empty_margin_v =
      2.0;  // [V] above it the battery management forbids drawing already: 50 A at 40 mohm
  double charge_c_rate = 1.0;             // [1/h] product specification
  double discharge_c_rate = 6.6;          // [1/h] product specification
  double charge_least_degc = 0.0;         // [degC] no charging of lithium cells below
  double pack_heat_j_per_k = 35.9e3;      // [J/K] 512 cells of 70 g, 1001 J/(kg K) (SimSES)
  double pack_cooling_w_per_k = 3.0;      // [W/K] of a boxed pack, an estimate
  double ambient_degc = 25.0;             // [degC]
  double converter_heat_j_per_k = 2.0e3;  // [J/K] fan-cooled, 2.5 kW, an estimate
  double converter_k_per_w = 0.15;        // [K/W] an estimate
};

/// The cells of the pack: data of SimSES (TU Munich), cell model `SonyLFP`, for 16s32p. Both
/// tables are joined by straight lines.
struct BatteryCells {
  /// From 0 to 1, ascending, and the open-circuit voltage of the pack there. [V]
  std::vector<double> soc_ratio = {0.0,  0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40,
                                   0.50, 0.60, 0.70, 0.75, 0.80, 0.90, 0.95, 0.98, 1.0};
  std::vector<double> open_circuit_v = {36.58, 46.32, 49.04, 51.15, 51.39, 51.75, 52.07,
                                        52.32, 52.52, 52.67, 52.79, 52.86, 52.97, 53.10,
                                        53.35, 53.48, 53.52, 53.58, 56.49};
  /// Ascending; below and above, the resistance of the nearest holds.
  std::vector<double> resistance_soc_ratio = {0.10, 0.20, 0.35, 0.50, 0.65, 0.80, 0.95};
  /// [charge, discharge][10, 25, 40 degC] of the pack. [mohm]
  std::array<std::array<std::vector<double>, 3>, 2> resistance_mohm = {
      {{{{26.8, 29.6, 29.4, 31.3, 34.6, 34.6, 40.3},
         {18.8, 20.7, 20.8, 22.4, 24.4, 23.4, 26.7},
         {15.2, 16.5, 16.4, 17.6, 19.2, 17.8, 20.0}}},
       {{{97.5, 40.4, 37.5, 34.7, 31.7, 32.4, 30.7},
         {30.8, 25.2, 25.2, 23.9, 21.5, 23.3, 21.3},
         {22.0, 19.2, 19.4, 19.2, 17.0, 18.9, 17.0}}}}};
};

/// Columns of the houses' state. [W, Wh, V, A, degC]
enum Column : std::size_t {
  kStoredWh,
  kCapacityWh,
  kResistance,  // times the table
  kMains,       // flags are 0 or 1
  kBypass,
  kAcCharging,
  kDark,
  kPackDegc,
  kConverterDegc,
  kConverterW,      // battery side of the converter, + = into the battery; input
  kConverterLossW,  // input
  kIdle,            // flag: the converter is off; input
  kSolarValue,      // the profiles' present lines: value at kSolarFrom, and slope
  kSolarSlope,
  kSolarFrom,
  kLoadValue,
  kLoadSlope,
  kLoadFrom,
  // Mean powers of the last step.
  kSolarW,
  kSolarAvailableW,
  kLoadW,
  kUnservedW,
  kMainsW,
  kAcLossW,
  kDcLossW,  // UPS, controls, converter; overcharge included
  kBatteryW,
  kBatteryLossW,
  kOverchargeW,
  kBatteryV,
  kBatteryA,
  // Sums since the start. [Wh]
  kSolarWh,
  kCurtailedWh,
  kLoadWh,
  kUnservedWh,
  kMainsWh,
  kAcLossWh,
  kDcLossWh,
  kBatteryLossWh,
  kIdleS,  // how long the converter was off [s]
  kColumns,
  // Behind the columns: what does not fit into the sums (Neumaier), and the part of the present
  // block of steps.
  kFirstSum = kSolarWh,
  kSums = kColumns - kFirstSum,
};

/// Tables of the battery, ready for the loop.
class HouseTables {
 public:
  explicit HouseTables(const HouseParameters& parameters, const BatteryCells& cells = {});

  static constexpr int kOcvSteps = 512;
  static constexpr int kResistanceSteps = 128;

  HouseParameters p;
  // Open-circuit voltage over stored energy / capacity: a value and a slope per interval. [V]
  std::array<double, kOcvSteps + 1> ocv_v{}, ocv_slope{};
  // [direction: charge, discharge][temperature: 10, 25, 40 degC][energy]. [ohm]
  std::array<double, 2 * 3 * (kResistanceSteps + 1)> resistance_ohm{};

  // Below it the battery management forbids drawing: a converter at full power would soon pull the
  // voltage too low.
  double empty_ratio = 0.0;

  /// Open-circuit voltage. [V]
  [[nodiscard]] double ocv(double energy_ratio) const noexcept;
};

/// Where the columns are.
struct HouseColumns {
  double* base = nullptr;
  std::size_t stride = 0;

  [[nodiscard]] double* column(std::size_t c) const noexcept { return base + c * stride; }
};

inline constexpr std::size_t kLanes = 8;  ///< Blocks are filled up to a multiple of it.
inline constexpr std::size_t kBlock =
    64;  ///< Houses that go through a block of steps together, in the first cache.
inline constexpr std::size_t kAllColumns = kColumns + 2 * kSums;

/// One step of houses [begin, end), which are multiples of kLanes: powers from the profiles at
/// `mid_s`.
void step_houses(const HouseTables& tables, const HouseColumns& columns, std::size_t begin,
                 std::size_t end, double mid_s, double dt_s) noexcept;
/// Move the parts of the sums into the sums, compensated.
void settle_sums(const HouseColumns& columns, std::size_t begin, std::size_t end) noexcept;

}  // namespace apis_control
