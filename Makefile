.PHONY: env
