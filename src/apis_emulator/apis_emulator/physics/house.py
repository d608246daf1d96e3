"""One house behind its converter: sun, load, UPS, mains and battery.

The UPS carries the load from the battery, or hands it through from the mains (*bypass*) when the
battery runs low; lower still, the mains charges the battery. Constants and thresholds are those of
Sony CSL's ``apis-emulator`` (commit 25f11d1), which look like fits to a real UPS. A house without
mains goes dark instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from apis_emulator.physics.battery import Battery

__all__ = ["House", "HouseFlow"]

SYSTEM_LOSS_W = 17.5  # controls, always, from the battery
INVERTER_LOSS_W, INVERTER_LOSS_RATIO = 129.0, 0.140  # UPS on the battery, from the battery
TRANSFORMER_LOSS_W = 57.0  # from the mains, always
BYPASS_LOSS_W, BYPASS_LOSS_RATIO = (
    67.0,
    0.060,
)  # from the mains; transformer and UPS share the ratio
AC_CHARGE_W, AC_CHARGE_LOSS_W = 150.0, 10.0

BYPASS_ON_RATIO, BYPASS_OFF_RATIO = 0.30, 0.35
AC_CHARGE_ON_RATIO, AC_CHARGE_OFF_RATIO = 0.20, 0.25
# Without mains the inverter lets go of the load before the battery is damaged. An engineering
# estimate.
DARK_ON_RATIO, DARK_OFF_RATIO = 0.02, 0.05


@dataclass(frozen=True, slots=True)
class HouseFlow:
    """Mean powers of a house over a step. [W]

    They balance: ``solar + mains + converter's grid power = load + losses + battery``. All are >=
    0 but the battery's, which is + when charging.
    """

    solar_w: float = 0.0
    solar_available_w: float = 0.0
    load_w: float = 0.0
    unserved_w: float = 0.0
    mains_w: float = 0.0
    losses_w: float = 0.0
    battery_w: float = 0.0
    overcharge_w: float = 0.0  # part of the losses: what a full battery had to burn off


@dataclass(slots=True)
class House:
    """State of a house.

    Attributes:
        battery: Its store.
        mains: Whether it is connected to the mains.
        is_bypass: The mains feeds the load.
        is_ac_charging: The mains charges the battery.
        is_dark: The load is cut off to save the battery (only without mains).
    """

    battery: Battery
    mains: bool = True
    is_bypass: bool = False
    is_ac_charging: bool = False
    is_dark: bool = False

    def step(
        self,
        *,
        solar_available_w: float,
        load_w: float,
        converter_w: float,
        converter_loss_w: float,
        dt_s: float,
    ) -> HouseFlow:
        """Let a time pass under constant powers.

        Args:
            solar_available_w: What the panels could give, >= 0. [W]
            load_w: What the inhabitants want, >= 0. [W]
            converter_w: Battery side of the DC/DC converter, + = into the battery. [W]
            converter_loss_w: What the converter burned of it; only passed on into the sum of
                losses, >= 0. [W]
            dt_s: How long, > 0. [s]
        """
        self._switch()
        served_w = 0.0 if self.is_dark else load_w
        mains_w, drain_w, ac_loss_w = self._supply(served_w)
        dc_loss_w = drain_w - (0.0 if self.is_bypass else served_w)
        if self.is_ac_charging:
            mains_w += AC_CHARGE_W + AC_CHARGE_LOSS_W
            ac_loss_w += AC_CHARGE_LOSS_W
            drain_w -= AC_CHARGE_W

        others_w = converter_w - drain_w
        solar_w = solar_available_w
        battery_w = solar_w + others_w
        losses_w = ac_loss_w + dc_loss_w + converter_loss_w
        overcharge_w = 0.0
        room_w = self.battery.room_w(dt_s)
        if battery_w > room_w:  # full: the panels are throttled first
            solar_w = min(max(room_w - others_w, 0.0), solar_available_w)
            overcharge_w = max(solar_w + others_w - room_w, 0.0)
            losses_w += overcharge_w
            battery_w = solar_w + others_w - overcharge_w
        else:
            shortage_w = -self.battery.available_w(dt_s) - battery_w
            if shortage_w > 0.0:  # empty: electronics that have no supply burn nothing either
                losses_w -= shortage_w
                battery_w += shortage_w
        self.battery.put(battery_w, dt_s)
        return HouseFlow(
            solar_w=solar_w,
            solar_available_w=solar_available_w,
            load_w=served_w,
            unserved_w=load_w - served_w,
            mains_w=mains_w,
            losses_w=losses_w,
            battery_w=battery_w,
            overcharge_w=overcharge_w,
        )

    def _switch(self) -> None:
        """Hysteresis: between its two thresholds a flag keeps its state."""
        soc_ratio = self.battery.soc_ratio
        if self.mains:
            self.is_bypass = _latched(self.is_bypass, soc_ratio, BYPASS_ON_RATIO, BYPASS_OFF_RATIO)
            self.is_ac_charging = _latched(
                self.is_ac_charging, soc_ratio, AC_CHARGE_ON_RATIO, AC_CHARGE_OFF_RATIO
            )
        else:
            self.is_bypass = self.is_ac_charging = False
        self.is_dark = not self.mains and _latched(
            self.is_dark, soc_ratio, DARK_ON_RATIO, DARK_OFF_RATIO
        )

    def _supply(self, load_w: float) -> tuple[float, float, float]:
        """Mains power, drain on the battery, and losses on the mains side. [W]"""
        if self.is_bypass:
            loss_w = TRANSFORMER_LOSS_W + BYPASS_LOSS_W + BYPASS_LOSS_RATIO * load_w
            return load_w + loss_w, SYSTEM_LOSS_W, loss_w
        mains_w = TRANSFORMER_LOSS_W if self.mains else 0.0
        if self.is_dark:
            return mains_w, SYSTEM_LOSS_W, mains_w
        drain_w = load_w + SYSTEM_LOSS_W + INVERTER_LOSS_W + INVERTER_LOSS_RATIO * load_w
        return mains_w, drain_w, mains_w


def _latched(is_on: bool, value: float, on_at: float, off_at: float) -> bool:
    """Hysteresis of something that switches on at or below ``on_at`` and off at or above
    ``off_at``.
    """
    return value <= on_at or (is_on and value < off_at)
