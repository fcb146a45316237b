//! Quadrature rules.
