"""What a run may cost: its four limits, and the prices that turn tokens into money.

* `Budget`: the limits, a plain value. Counting and tripping is `starling.step`'s work.
* `cost_usd`, `is_priced`, `register_pricing`: prices per model, built in (`_prices`) and registered by you.
"""

from starling.budget._budget import Budget
from starling.budget._pricing import cost_usd, is_priced, register_pricing

__all__ = ["Budget", "cost_usd", "is_priced", "register_pricing"]
