"""The modelling language: types, expressions, procedures, models and properties, as plain data."""
