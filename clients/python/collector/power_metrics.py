"""Money for power, by the original collector's formula."""

from __future__ import annotations

from typing import Any, Iterable, Mapping


class PowerCalculator:
    """Turns power into money.

    What Wattledger answers has its own price, which counts. For watts alone it is the
    seed model's: one kWh costs electricity_rate * (1 + cooling_factor) + carbon_rate.
    """

    def __init__(self, electricity_rate: float = 0.12, cooling_factor: float = 1.3, carbon_rate: float = 0.05) -> None:
        self.electricity_rate = electricity_rate
        self.cooling_factor = cooling_factor
        self.carbon_rate = carbon_rate

    def calculate_power_cost(self, power_watts: float, duration_hours: float) -> float:
        """Return what drawing power_watts for duration_hours costs."""
        if power_watts < 0 or duration_hours < 0:
            raise ValueError("power and duration must not be below 0")
        kilowatt_hours = power_watts / 1000 * duration_hours
        return kilowatt_hours * (self.electricity_rate * (1 + self.cooling_factor) + self.carbon_rate)

    def calculate_total_cost(self, power_data: Iterable[Mapping[str, Any]]) -> float:
        """Return what an hour of all rows costs: their cost_per_hour, or that of their power_watts."""
        if hasattr(power_data, "to_dict"):  # a DataFrame
            power_data = power_data.to_dict("records")
        total = 0.0
        for row in power_data:
            cost = row.get("cost_per_hour")
            if cost is None:
                cost = self.calculate_power_cost(float(row.get("power_watts") or 0.0), 1.0)
            total += float(cost)
        return total
