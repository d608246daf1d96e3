#include "apis_control/bus_network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <queue>
#include <utility>

namespace apis_control {

BusNetwork::BusNetwork(std::size_t nodes, std::vector<Line> lines)
    : nodes_(nodes), lines_(std::move(lines)) {
  find_islands();
  factorise();
}

void BusNetwork::set_open(std::size_t line, bool is_open) {
  lines_[line].is_open = is_open;
  find_islands();
  factorise();
}

void BusNetwork::find_islands() {
  if (is_ideal()) {
    island_of_.assign(nodes_, 0);
    island_size_.assign(1, nodes_);
    return;
  }
  std::vector<std::size_t> parent(nodes_);
  for (std::size_t i = 0; i < nodes_; ++i) parent[i] = i;
  const auto root = [&parent](std::size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (const Line& line : lines_) {
    if (!line.is_open)
      parent[std::max(root(line.a), root(line.b))] = std::min(root(line.a), root(line.b));
  }
  island_of_.resize(nodes_);
  island_size_.clear();
  for (std::size_t i = 0; i < nodes_; ++i) {
    if (const std::size_t top = root(i); top == i) {
      island_of_[i] = island_size_.size();
      island_size_.push_back(0);
    } else {
      island_of_[i] = island_of_[top];  // a root comes before all of its island
    }
    ++island_size_[island_of_[i]];
  }
}

void BusNetwork::factorise() {
  order_.clear();
  row_.clear();
  factor_.clear();
  pivot_.assign(nodes_, 0.0);
  begin_.assign(1, 0);
  work_.assign(2 * nodes_, 0.0);
  if (is_ideal()) return;
  std::vector<std::map<std::size_t, double>> conductance(
      nodes_);  // neighbours that are not eliminated yet
  std::vector<double> diagonal(nodes_, 0.0);
  for (const Line& line : lines_) {
    if (line.is_open || line.a == line.b) continue;
    const double g = 1.0 / line.resistance_ohm;
    conductance[line.a][line.b] += g;
    conductance[line.b][line.a] += g;
    diagonal[line.a] += g;
    diagonal[line.b] += g;
  }
  using Candidate = std::pair<std::size_t, std::size_t>;  // degree, node
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  for (std::size_t i = 0; i < nodes_; ++i) queue.emplace(conductance[i].size(), i);
  std::vector<bool> is_done(nodes_, false);
  while (!queue.empty()) {
    const auto [degree, k] = queue.top();
    queue.pop();
    if (is_done[k] || degree != conductance[k].size()) continue;
    is_done[k] = true;
    order_.push_back(k);
    // The last node of an island has no neighbour left: it is the ground.
    pivot_[k] = degree == 0 ? 0.0 : diagonal[k];
    for (const auto& [i, g_ik] : conductance[k]) {
      row_.push_back(i);
      factor_.push_back(g_ik / pivot_[k]);
      conductance[i].erase(k);
    }
    for (auto i = conductance[k].begin(); i != conductance[k].end(); ++i) {
      diagonal[i->first] -= i->second * i->second / pivot_[k];
      for (auto j = std::next(i); j != conductance[k].end(); ++j) {
        const double g = i->second * j->second / pivot_[k];
        conductance[i->first][j->first] += g;
        conductance[j->first][i->first] += g;
      }
      queue.emplace(conductance[i->first].size(), i->first);
    }
    begin_.push_back(row_.size());
  }
}

void BusNetwork::drops(const double* currents_a, double* drops_v) const {
  if (is_ideal()) {
    std::fill_n(drops_v, nodes_, 0.0);
    return;
  }
  double* const injected_a = work_.data();
  double* const sum = work_.data() + nodes_;  // per island
  std::fill_n(sum, islands(), 0.0);
  for (std::size_t i = 0; i < nodes_; ++i) sum[island_of_[i]] += currents_a[i];
  for (std::size_t i = 0; i < nodes_; ++i) {
    injected_a[i] =
        sum[island_of_[i]] / static_cast<double>(island_size_[island_of_[i]]) - currents_a[i];
  }
  // G = L D L^T with off-diagonals -g: forward, then backward.
  for (std::size_t n = 0; n < order_.size(); ++n) {
    const double value = injected_a[order_[n]];
    for (std::size_t e = begin_[n]; e < begin_[n + 1]; ++e)
      injected_a[row_[e]] += factor_[e] * value;
  }
  for (std::size_t n = order_.size(); n-- > 0;) {
    const std::size_t k = order_[n];
    double value = pivot_[k] > 0.0 ? injected_a[k] / pivot_[k] : 0.0;
    for (std::size_t e = begin_[n]; e < begin_[n + 1]; ++e) value += factor_[e] * drops_v[row_[e]];
    drops_v[k] = value;
  }
  std::fill_n(sum, islands(), 0.0);
  for (std::size_t i = 0; i < nodes_; ++i) sum[island_of_[i]] += drops_v[i];
  for (std::size_t i = 0; i < nodes_; ++i) {
    drops_v[i] -= sum[island_of_[i]] / static_cast<double>(island_size_[island_of_[i]]);
  }
}

void BusNetwork::line_currents(const double* node_v, double* currents_a) const {
  for (std::size_t k = 0; k < lines_.size(); ++k) {
    const Line& line = lines_[k];
    currents_a[k] = line.is_open ? 0.0 : (node_v[line.a] - node_v[line.b]) / line.resistance_ohm;
  }
}

double BusNetwork::loss_w(const double* node_v) const {
  double sum_w = 0.0;
  for (const Line& line : lines_) {
    const double drop_v = line.is_open ? 0.0 : node_v[line.a] - node_v[line.b];
    sum_w += drop_v * drop_v / line.resistance_ohm;
  }
  return sum_w;
}

BusNetwork::Solution BusNetwork::solve(const std::vector<double>& currents_a,
                                       std::vector<Reference> references) const {
  Solution solution;
  std::vector<double> currents = currents_a, base(nodes_), unit(nodes_), column(nodes_);
  drops(currents.data(), base.data());
  std::vector<double> mean_v(islands(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t island = 0; island < islands(); ++island) {
    std::vector<Reference*> here;
    for (Reference& r : references) {
      if (island_of_[r.node] == island) here.push_back(&r);
    }
    double load_a = 0.0, largest_a = 0.0;
    for (std::size_t i = 0; i < nodes_; ++i) {
      if (island_of_[i] != island) continue;
      load_a += currents[i];
      largest_a = std::max(largest_a, std::abs(currents[i]));
    }
    const std::size_t count = here.size();
    std::vector<Reference> local(count);
    std::vector<double> drop_v(count), mutual_ohm(count * count);
    for (std::size_t m = 0; m < count; ++m) {
      local[m] = *here[m];
      if (count > 1) local[m].resistance_ohm = std::max(local[m].resistance_ohm, kStrayOhm);
      drop_v[m] = base[local[m].node];
      std::fill(unit.begin(), unit.end(), 0.0);
      unit[local[m].node] = 1.0;
      drops(unit.data(), column.data());
      for (std::size_t k = 0; k < count; ++k) mutual_ohm[k * count + m] = -column[here[k]->node];
    }
    const bool is_held =
        count > 0 && share_load(count, local.data(), drop_v.data(), mutual_ohm.data(), load_a, 0.0,
                                0.0, mean_v[island]);
    if (!is_held) {
      mean_v[island] = std::numeric_limits<double>::quiet_NaN();
      if (largest_a > 0.0 || count > 0) solution.is_held = false;
    }
    for (std::size_t m = 0; m < count; ++m) {
      here[m]->current_a = local[m].current_a;
      here[m]->is_saturated = local[m].is_saturated;
      currents[local[m].node] += local[m].current_a;
    }
  }
  solution.node_v.resize(nodes_);
  drops(currents.data(), solution.node_v.data());
  solution.line_current_a.resize(lines_.size());
  // Differences of drops, not of voltages: 350 V would cost three digits.
  line_currents(solution.node_v.data(), solution.line_current_a.data());
  solution.loss_w = loss_w(solution.node_v.data());
  for (std::size_t i = 0; i < nodes_; ++i) solution.node_v[i] += mean_v[island_of_[i]];
  solution.references = std::move(references);
  return solution;
}

bool share_load(std::size_t count, Reference* references, const double* drop_v,
                const double* mutual_ohm, double load_a, double c_per_dt, double before_v,
                double& mean_v) {
  constexpr std::size_t kMost = 16;  // more references at once than any hand-over has
  count = std::min(count, kMost);
  double pinned[kMost] = {};  // 0 = free, else the sign of the limit
  double matrix[(kMost + 1) * (kMost + 2)];
  double current_a[kMost] = {};
  double volts = before_v;
  bool is_held = false;
  for (std::size_t round = 0; round < 4 * count + 4; ++round) {
    // Unknowns: the mean voltage, then every free current.
    std::size_t free[kMost];
    std::size_t n = 1;
    double rest_a = load_a;
    for (std::size_t k = 0; k < count; ++k) {
      if (pinned[k] == 0.0) {
        free[n++ - 1] = k;
      } else {
        rest_a += current_a[k] = pinned[k] * references[k].limit_a;
      }
    }
    is_held = n > 1;
    if (!is_held && c_per_dt == 0.0) break;
    const std::size_t width = n + 1;
    for (std::size_t r = 0; r < n; ++r) std::fill_n(matrix + r * width, width, 0.0);
    // Charge:  c*V + sum(i) = c*V0 - rest
    matrix[0] = c_per_dt;
    for (std::size_t j = 1; j < n; ++j) matrix[j] = 1.0;
    matrix[n] = c_per_dt * before_v - rest_a;
    for (std::size_t r = 1; r < n; ++r) {
      const std::size_t k = free[r - 1];
      double* const row = matrix + r * width;
      double right = references[k].source_v - drop_v[k];
      for (std::size_t m = 0; m < count; ++m) {
        if (pinned[m] != 0.0) right += mutual_ohm[k * count + m] * current_a[m];
      }
      row[0] = 1.0;
      for (std::size_t j = 1; j < n; ++j) row[j] = -mutual_ohm[k * count + free[j - 1]];
      row[r] -= references[k].resistance_ohm;
      row[n] = right;
    }
    for (std::size_t c = 0; c < n; ++c) {  // Gauss with pivoting; n is 2 or 3
      std::size_t best = c;
      for (std::size_t r = c + 1; r < n; ++r) {
        if (std::abs(matrix[r * width + c]) > std::abs(matrix[best * width + c])) best = r;
      }
      if (best != c)
        std::swap_ranges(matrix + c * width, matrix + (c + 1) * width, matrix + best * width);
      for (std::size_t r = 0; r < n; ++r) {
        if (r == c || matrix[r * width + c] == 0.0) continue;
        const double q = matrix[r * width + c] / matrix[c * width + c];
        for (std::size_t j = c; j < width; ++j) matrix[r * width + j] -= q * matrix[c * width + j];
      }
    }
    volts = matrix[n] / matrix[0];
    for (std::size_t r = 1; r < n; ++r)
      current_a[free[r - 1]] = matrix[r * width + n] / matrix[r * width + r];

    // Pin the one that is furthest beyond its limit; if none is, let go the one that pulls the
    // wrong way most.
    std::size_t worst = count;
    double excess = 0.0;
    for (std::size_t k = 0; k < count; ++k) {
      if (pinned[k] != 0.0) continue;
      const double over = std::abs(current_a[k]) - references[k].limit_a * (1.0 + 1e-12);
      if (over > excess) worst = k, excess = over;
    }
    if (worst < count) {
      pinned[worst] = current_a[worst] > 0.0 ? 1.0 : -1.0;
      continue;
    }
    for (std::size_t k = 0; k < count; ++k) {
      if (pinned[k] == 0.0) continue;
      double wants_v =
          volts + drop_v[k] - references[k].source_v - references[k].resistance_ohm * current_a[k];
      for (std::size_t m = 0; m < count; ++m) wants_v -= mutual_ohm[k * count + m] * current_a[m];
      if (wants_v * pinned[k] < -1e-9 && -wants_v * pinned[k] > excess)
        worst = k, excess = -wants_v * pinned[k];
    }
    if (worst == count) break;
    pinned[worst] = 0.0;
  }
  for (std::size_t k = 0; k < count; ++k) {
    const double limit_a = references[k].limit_a;
    references[k].current_a = std::clamp(current_a[k], -limit_a, limit_a);
    references[k].is_saturated = pinned[k] != 0.0;
  }
  mean_v = volts;
  return is_held;
}

}  // namespace apis_control
