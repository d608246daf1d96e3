// The wires of the bus: nodal solution of a DC network of lines with resistance, trees and meshes
// alike.
#pragma once

#include <cstddef>
#include <vector>

namespace apis_control {

/// A cable between two nodes, go and return together.
struct Line {
  std::size_t a = 0, b = 0;     ///< Nodes.
  double resistance_ohm = 0.0;  ///< > 0, both conductors. [ohm]
  bool is_open = false;         ///< Broken, or switched off.
};

/// A voltage reference as the bus sees it: a source behind a resistance, with a current limit.
struct Reference {
  std::size_t node = 0;
  double source_v = 0.0;        ///< What it regulates to at zero current. [V]
  double resistance_ohm = 0.0;  ///< Droop, >= 0. [V/A]
  double limit_a = 0.0;         ///< Largest current in either direction, > 0. [A]
  // Results.
  double current_a = 0.0;  ///< + = from the bus into the unit. [A]
  bool is_saturated = false;
};

/// Of a reference that meets another: stiff, so they fight; an engineering estimate. [ohm]
inline constexpr double kStrayOhm = 0.005;

/// Conductances of a network, factorised once per topology (sparse L D L^T in an order of least
/// degree; a tree fills nothing in and costs O(n) per solution).
///
/// Nodes that are joined by closed lines form an *island*. Within each the solution is relative:
/// its mean is zero, and what the sources of an island do not balance is taken evenly from its
/// nodes (as equal capacitances would).
class BusNetwork {
 public:
  /// Without lines all nodes are one: an ideal bus.
  BusNetwork(std::size_t nodes, std::vector<Line> lines);

  [[nodiscard]] std::size_t nodes() const noexcept { return nodes_; }
  [[nodiscard]] const std::vector<Line>& lines() const noexcept { return lines_; }
  [[nodiscard]] bool is_ideal() const noexcept { return lines_.empty(); }
  [[nodiscard]] std::size_t islands() const noexcept { return island_size_.size(); }
  [[nodiscard]] std::size_t island_of(std::size_t node) const noexcept { return island_of_[node]; }
  [[nodiscard]] std::size_t island_size(std::size_t island) const noexcept {
    return island_size_[island];
  }

  /// Open or close a line; the conductances are factorised anew.
  void set_open(std::size_t line, bool is_open);

  /// Voltage of every node against the mean of its island, for these currents into the units. [A]
  /// -> [V]
  void drops(const double* currents_a, double* drops_v) const;
  /// Current through each line, from a to b. [A]
  void line_currents(const double* node_v, double* currents_a) const;
  /// Burned in the lines. [W]
  [[nodiscard]] double loss_w(const double* node_v) const;

  struct Solution {
    std::vector<double> node_v;          ///< NaN on an island that no reference holds. [V]
    std::vector<double> line_current_a;  ///< From a to b. [A]
    std::vector<Reference> references;   ///< With their currents.
    double loss_w = 0.0;                 ///< In the lines. [W]
    bool is_held = true;  ///< Every island with a current has a reference below its limit.
  };
  /// Steady state: current sources (+ = into the unit) and references, which share or fight, up to
  /// their limits.
  [[nodiscard]] Solution solve(const std::vector<double>& currents_a,
                               std::vector<Reference> references) const;

 private:
  void find_islands();
  void factorise();

  std::size_t nodes_;
  std::vector<Line> lines_;
  std::vector<std::size_t> island_of_, island_size_;
  // L in columns, by order of elimination; the last node of an island is its ground.
  std::vector<std::size_t> order_, begin_, row_;
  std::vector<double> factor_, pivot_;  // pivot 0 = grounded
  mutable std::vector<double> work_;
};

/// References on one island, and what else is there: finds their currents and the island's mean
/// voltage.
///
/// Solves `C*(V - V0)/dt + load + sum(i_k) = 0` with `V + d_k - sum(z_km*i_m) - r_k*i_k = s_k` for
/// those below their limit (an active-set method; the matrix is positive definite, so each set has
/// one solution). With `c_per_dt` zero it is the steady state, and false comes back if all are at
/// their limit.
///
/// @param drop_v  d_k: voltage of reference k's node against the mean without any current of the
/// references. [V]
/// @param mutual_ohm  z_km (row by row): how much a current into reference m lowers the voltage of
/// k. [ohm]
bool share_load(std::size_t count, Reference* references, const double* drop_v,
                const double* mutual_ohm, double load_a, double c_per_dt, double before_v,
                double& mean_v);

}  // namespace apis_control
