#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "apis_control/plant.hpp"

using namespace apis_control;

namespace {

std::shared_ptr<Unit> add(Plant& plant, float solar_w = 500.0F, float load_w = 300.0F,
                          double soc = 0.6) {
  UnitParameters parameters;
  parameters.stored_wh = soc * parameters.capacity_wh;
  return plant.add(std::make_shared<Converter>(), parameters, Profile::constant(solar_w),
                   Profile::constant(load_w));
}

void order(Unit& unit, Mode mode, double current_a, double voltage_v = 0.0) {
  unit.converter->start(mode, unit.bus_v(), kNone);
  unit.converter->current_setpoint_a = current_a;
  unit.converter->voltage_setpoint_v = voltage_v;
}

}  // namespace

TEST(Plant, LinesLoseWhatTheVoltagesSay) {
  Plant plant;
  const auto giver = add(plant), middle = add(plant), taker = add(plant);
  plant.set_lines({{0, 1, 0.2, false}, {1, 2, 0.3, false}});
  order(*giver, Mode::kVoltageReference, 7.0, 350.0);
  plant.step(20.0);
  order(*taker, Mode::kCharge, 2.0);
  plant.step(10.0);
  EXPECT_NEAR(giver->bus_v(), 350.0, 1e-6);
  EXPECT_NEAR(middle->bus_v(), 350.0 - 0.4, 1e-6);
  EXPECT_NEAR(taker->bus_v(), 350.0 - 1.0, 1e-6);
  EXPECT_NEAR(plant.line_loss_w(), 2.0, 1e-6);
  EXPECT_NEAR(plant.line_current_a(0), 2.0, 1e-9);
  const double sent_wh = giver->converter->discharged_wh(),
               got_wh = taker->converter->charged_wh();
  EXPECT_NEAR(sent_wh, got_wh + plant.line_loss_wh() + plant.bus_stored_wh() + plant.bled_wh(),
              1e-9);
}

TEST(Plant, TwoReferencesOnACableShareOrFight) {
  Plant plant;
  const auto one = add(plant), other = add(plant);
  plant.set_lines({{0, 1, 0.2, false}});
  order(*one, Mode::kVoltageReference, 7.0, 350.0);
  plant.step(15.0);
  order(*other, Mode::kVoltageReference, 7.0, 350.5);
  plant.step(2.0);
  EXPECT_NEAR(one->converter->current_a, 0.5 / 0.21, 0.01);
  EXPECT_NEAR(other->converter->current_a, -0.5 / 0.21, 0.01);
}

TEST(Plant, ThePartThatIsCutOffFromItsReferenceDies) {
  Plant plant;
  const auto giver = add(plant), near = add(plant), far = add(plant);
  plant.set_lines({{0, 1, 0.2, false}, {1, 2, 0.3, false}});
  order(*giver, Mode::kVoltageReference, 7.0, 350.0);
  plant.step(20.0);
  order(*near, Mode::kCharge, 1.0);
  order(*far, Mode::kCharge, 1.0);
  plant.step(5.0);
  plant.set_line_open(1, true);
  plant.step(2.0);
  EXPECT_EQ(far->converter->stop_reason(), StopReason::kUnderVoltage);
  EXPECT_EQ(near->converter->mode, Mode::kCharge);
  EXPECT_LT(far->bus_v(), 260.0);
  EXPECT_NEAR(near->bus_v(), 349.8, 1e-6);
}

TEST(Plant, UnitsComeAndGo) {
  Plant plant;
  const auto first = add(plant), second = add(plant);
  order(*first, Mode::kVoltageReference, 7.0, 350.0);
  plant.step(20.0);
  const double stored_wh = second->at(kStoredWh);
  plant.remove(0);
  EXPECT_FALSE(first->is_attached());
  EXPECT_EQ(first->converter->mode, Mode::kWait);
  EXPECT_EQ(second->index(), 0U);
  EXPECT_EQ(second->at(kStoredWh), stored_wh);
  for (int i = 0; i < 70; ++i) add(plant);
  plant.step(10.0);
  EXPECT_EQ(plant.size(), 71U);
}

TEST(Plant, EnergyIsConservedOverDaysOfAnything) {
  Plant plant;
  std::vector<float> sun(48), load(24);
  for (std::size_t i = 0; i < sun.size(); ++i)
    sun[i] = std::max(0.0F, 4000.0F * std::sin(0.13F * static_cast<float>(i) - 1.5F));
  for (std::size_t i = 0; i < load.size(); ++i)
    load[i] = 100.0F + 60.0F * static_cast<float>(i * 7 % 24);
  double before_wh = 0.0;
  for (std::size_t i = 0; i < 100; ++i) {
    UnitParameters parameters;
    parameters.has_mains = i % 3 != 0;
    parameters.stored_wh = 48.0 * static_cast<double>(i);
    before_wh += parameters.stored_wh;
    const auto hold = [](const std::vector<float>& v) {
      return std::shared_ptr<const float>(v.data(), [](const float*) {});
    };
    plant.add(std::make_shared<Converter>(), parameters,
              {hold(sun), sun.size(), 1800.0, -600.0 * static_cast<double>(i)},
              {hold(load), load.size(), 3600.0, 0.0});
  }
  plant.step(86'400.0);
  double into = 0.0, out = 0.0, after_wh = 0.0;
  for (std::size_t i = 0; i < 100; ++i) {
    const auto at = [&](Column c) { return plant.column(c)[i]; };
    into += at(kSolarWh) + at(kMainsWh);
    out += at(kLoadWh) + at(kAcLossWh) + at(kDcLossWh) + at(kBatteryLossWh);
    after_wh += at(kStoredWh);
  }
  EXPECT_LT(std::abs(into - out - (after_wh - before_wh)), 1e-9 * into);
}

TEST(Plant, HowTimeIsCutChangesNothing) {
  double results[2];
  for (int k = 0; k < 2; ++k) {
    Plant plant;
    for (int i = 0; i < 9; ++i) add(plant, 100.0F * static_cast<float>(i), 400.0F);
    for (int i = 0; i < (k == 0 ? 1 : 3600); ++i) plant.step(k == 0 ? 3600.0 : 1.0);
    results[k] = plant.column(kStoredWh)[5];
  }
  EXPECT_EQ(results[0], results[1]);
}
