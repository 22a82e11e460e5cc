"""Raw runs: opened, inspected, converted, made by the virtual experiment."""
