"""Everything between a product's rule and a model: functions, prompts, prices, the gateway and its books."""
