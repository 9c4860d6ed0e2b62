"""The loss that judges, switched: tried on the past first, then in force, with eras to tell them apart."""
