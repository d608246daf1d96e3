// A converter's controller in somebody else's firmware: no Python, no ROS, no thread.
#include <apis_control/controller.hpp>
#include <cmath>
#include <cstdio>

int main() {
  apis_control::ConverterParameters parameters;
  parameters.current_slew_a_per_s = 10.0;
  apis_control::Controller controller(parameters);

  apis_control::Order order;
  order.kind = apis_control::OrderKind::kMode;
  order.mode = apis_control::Mode::kCharge;
  order.current_a = 2.0;
  order.energy_limit_wh = 1.0;
  order.hold_s = 60.0;
  controller.obey(order, 0.0);

  double current_a = 0.0;
  for (int tick = 1; controller.converter.is_active() && tick < 60'000; ++tick) {
    const double now_s = 0.001 * tick;
    current_a = controller.tick({350.0, current_a}, 0.001, now_s).current_a;
  }
  std::printf("%.6f Wh, %s\n", controller.converter.charged_wh(),
              controller.converter.stop_detail().c_str());
  return std::abs(controller.converter.charged_wh() - 1.0) < 1e-3 ? 0 : 1;
}
