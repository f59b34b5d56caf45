"""Time limits of cases: four clocks on the city's work calendar."""
