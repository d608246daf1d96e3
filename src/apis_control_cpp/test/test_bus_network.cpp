#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "apis_control/bus_network.hpp"

using namespace apis_control;

namespace {

Reference reference(std::size_t node, double source_v, double ohm = 0.0, double limit_a = 1e3) {
  return {node, source_v, ohm, limit_a, 0.0, false};
}

// Kirchhoff: what comes into a node through its lines is what its unit takes.
double worst_balance_a(const BusNetwork& network, const BusNetwork::Solution& s,
                       std::vector<double> currents_a) {
  for (const Reference& r : s.references) currents_a[r.node] += r.current_a;
  for (std::size_t k = 0; k < network.lines().size(); ++k) {
    currents_a[network.lines()[k].a] += s.line_current_a[k];
    currents_a[network.lines()[k].b] -= s.line_current_a[k];
  }
  double worst = 0.0;
  for (const double a : currents_a) worst = std::max(worst, std::abs(a));
  return worst;
}

}  // namespace

TEST(BusNetwork, TwoHousesOnACable) {
  const BusNetwork network(2, {{0, 1, 0.5, false}});
  const auto s = network.solve({0.0, 2.0}, {reference(0, 350.0)});
  EXPECT_DOUBLE_EQ(s.node_v[0], 350.0);
  EXPECT_DOUBLE_EQ(s.node_v[1], 349.0);
  EXPECT_DOUBLE_EQ(s.line_current_a[0], 2.0);
  EXPECT_DOUBLE_EQ(s.loss_w, 2.0);
  EXPECT_DOUBLE_EQ(s.references[0].current_a, -2.0);
}

TEST(BusNetwork, RandomTreesAndMeshesObeyKirchhoff) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> ohm(0.05, 1.0), amps(-5.0, 5.0);
  for (std::size_t n = 2; n < 120; n += 7) {
    std::vector<Line> lines;
    for (std::size_t i = 1; i < n; ++i) lines.push_back({random() % i, i, ohm(random), false});
    for (std::size_t i = 0; i < n / 4; ++i) {
      const std::size_t a = random() % n, b = random() % n;
      if (a != b) lines.push_back({a, b, ohm(random), false});
    }
    const BusNetwork network(n, lines);
    std::vector<double> currents_a(n);
    for (double& a : currents_a) a = amps(random);
    const auto s = network.solve(currents_a, {reference(random() % n, 350.0, 1.7)});
    EXPECT_LT(worst_balance_a(network, s, currents_a), 1e-9);
    // Power: sum of i*V of all units and the losses cancel (Tellegen).
    double sum_w = s.loss_w;
    for (std::size_t i = 0; i < n; ++i) sum_w += currents_a[i] * s.node_v[i];
    sum_w += s.references[0].current_a * s.node_v[s.references[0].node];
    EXPECT_LT(std::abs(sum_w), 1e-6);
  }
}

TEST(BusNetwork, TwoReferencesWithDroopShareByTheirResistances) {
  const BusNetwork network(2, {});
  const auto s = network.solve({3.0, 0.0}, {reference(0, 350.0, 1.0), reference(1, 350.0, 2.0)});
  EXPECT_NEAR(s.references[0].current_a, -2.0, 1e-9);
  EXPECT_NEAR(s.references[1].current_a, -1.0, 1e-9);
  EXPECT_NEAR(s.node_v[0], 348.0, 1e-9);
}

TEST(BusNetwork, TwoStiffReferencesFightUpToTheirLimits) {
  const BusNetwork network(2, {{0, 1, 0.185, false}});
  const auto s =
      network.solve({0.0, 0.0}, {reference(0, 352.0, 0.0, 7.8), reference(1, 350.0, 0.0, 9.0)});
  EXPECT_DOUBLE_EQ(s.references[0].current_a, -7.8);
  EXPECT_TRUE(s.references[0].is_saturated);
  EXPECT_NEAR(s.references[1].current_a, 7.8, 1e-9);
  EXPECT_FALSE(s.references[1].is_saturated);
  EXPECT_TRUE(s.is_held);
}

TEST(BusNetwork, NothingHoldsABusWhoseReferencesAreAllAtTheirLimit) {
  const BusNetwork network(2, {{0, 1, 0.2, false}});
  const auto s = network.solve({5.0, 0.0}, {reference(1, 350.0, 0.0, 2.0)});
  EXPECT_FALSE(s.is_held);
  EXPECT_TRUE(std::isnan(s.node_v[0]));
  EXPECT_DOUBLE_EQ(s.references[0].current_a, -2.0);
}

TEST(BusNetwork, ABrokenLineMakesIslands) {
  BusNetwork network(4, {{0, 1, 0.1, false}, {1, 2, 0.1, false}, {2, 3, 0.1, false}});
  network.set_open(1, true);
  EXPECT_EQ(network.islands(), 2U);
  const auto s = network.solve({0.0, 1.0, 0.0, 1.0}, {reference(0, 350.0)});
  EXPECT_NEAR(s.node_v[1], 349.9, 1e-9);
  EXPECT_TRUE(std::isnan(s.node_v[3]));
  EXPECT_FALSE(s.is_held);
}

TEST(BusNetwork, MoreCurrentOutNeverRaisesAVoltage) {
  const BusNetwork network(3, {{0, 1, 0.3, false}, {1, 2, 0.3, false}});
  double before_v = 1e9;
  for (double load_a = 0.0; load_a < 12.0; load_a += 0.25) {
    const auto s = network.solve({0.0, 0.0, load_a},
                                 {reference(0, 350.0, 1.75, 6.0), reference(1, 349.0, 0.5, 7.0)});
    if (!s.is_held) break;
    EXPECT_LE(s.node_v[2], before_v);
    before_v = s.node_v[2];
  }
  EXPECT_LT(before_v, 345.0);
}
