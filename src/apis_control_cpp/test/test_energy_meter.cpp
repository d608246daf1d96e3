#include <gtest/gtest.h>

#include "apis_control/energy_meter.hpp"

using apis_control::CompensatedSum;
using apis_control::EnergyMeter;

TEST(CompensatedSum, KeepsTermsThatAPlainSumLoses) {
  CompensatedSum sum;
  double plain = 0.0;
  for (const double term : {1.0, 1e100, 1.0, -1e100}) {
    sum.add(term);
    plain += term;
  }
  EXPECT_EQ(sum.value(), 2.0);
  EXPECT_NE(plain, 2.0);
}

TEST(EnergyMeter, FirstSampleIsConstantOverItsInterval) {
  EnergyMeter meter;
  meter.add(720.0, 5.0);
  EXPECT_DOUBLE_EQ(meter.charged_wh(), 1.0);
  EXPECT_EQ(meter.discharged_wh(), 0.0);
}

TEST(EnergyMeter, IntegratesALineExactly) {
  EnergyMeter meter;
  meter.add_mean(0.0, 1.0);
  meter.add(-700.0, 2.0);
  EXPECT_DOUBLE_EQ(meter.discharged_wh(), 700.0 / 3600.0);
}

TEST(EnergyMeter, SplitsAtTheCrossingOfZero) {
  EnergyMeter meter;
  meter.add_mean(-100.0, 36.0);  // 1 Wh out
  meter.add(300.0, 4.0);         // 1 s below zero, 3 s above
  EXPECT_DOUBLE_EQ(meter.discharged_wh(), 1.0 + 50.0 / 3600.0);
  EXPECT_DOUBLE_EQ(meter.charged_wh(), 450.0 / 3600.0);
}

TEST(EnergyMeter, AddsTinyEnergiesToALargeTotal) {
  EnergyMeter meter;
  meter.add_mean(1e9, 3.6e6);  // 1e12 Wh
  for (int i = 0; i < 1'000'000; ++i) {
    meter.add_mean(0.036, 1.0);  // 1e-5 Wh, below half a unit in the last place of the total
  }
  EXPECT_NEAR(meter.charged_wh() - 1e12, 10.0, 1e-3);
}
